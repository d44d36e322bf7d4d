// SPDX-License-Identifier: Apache-2.0
// The compiled kernels as read-only data. The assembler finds NAME.fatbin in its include path.

.macro image name
  .balign 64
  .globl sluice_image_\name
  .type sluice_image_\name, @object
sluice_image_\name:
  // "\()" ends the parameter's name. Without it the name would go on with the dot, be nobody's, and
  // its "\n" be a line end.
  .incbin "\name\().fatbin"
  .byte 0
  .size sluice_image_\name, . - sluice_image_\name
.endm

  .section .rodata, "a", @progbits
  image row
  image gemm
  image norm
  image wide
  image attention
  image output

  .section .note.GNU-stack, "", @progbits
