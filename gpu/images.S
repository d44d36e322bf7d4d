// SPDX-License-Identifier: Apache-2.0
// The compiled kernels as read-only data. The assembler finds NAME.fatbin in its include path.

// The file is a parameter of its own: "\name.fatbin" would have a line end in it.
.macro image name, file
  .balign 64
  .globl sluice_image_\name
  .type sluice_image_\name, @object
sluice_image_\name:
  .incbin "\file"
  .byte 0
  .size sluice_image_\name, . - sluice_image_\name
.endm

  .section .rodata, "a", @progbits
  image row, "row.fatbin"
  image gemm, "gemm.fatbin"
  image norm, "norm.fatbin"
  image wide, "wide.fatbin"
  image attention, "attention.fatbin"
  image output, "output.fatbin"

  .section .note.GNU-stack, "", @progbits
