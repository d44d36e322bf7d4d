// SPDX-License-Identifier: Apache-2.0
#pragma once
// The rules of the source tree that no compiler checks. Each rule is a function from text to
// findings, so that tidy_test.cc can show each one a bad snippet before it trusts its silence about
// the tree.

#include <string>
#include <string_view>
#include <vector>

namespace sluice::tidy {

// One source file.
struct File {
  std::string path;                // from the root of the repository, e.g. "base/json.h"
  std::vector<std::string> lines;  // as they are
  std::vector<std::string> code;   // the same, with comments and string contents made blanks
};

// A place where a rule is broken.
struct Finding {
  std::string path;
  size_t line = 0;  // from 1
  std::string why;
};
using Findings = std::vector<Finding>;

// Splits `text` into lines and blanks what is not code.
File make_file(std::string path, std::string_view text);

// Lines of at most 100 characters without tabs, at most 400 of them in a file that is not
// generated, the licence on the first one, `#pragma once` in a header.
Findings check_layout(const File& file);

// Arrows between folders point down, and each third-party header has one home.
Findings check_includes(const File& file);

// Doors to the world that would let something into the simulation that the seed does not control:
// clocks, sleep, the environment, random devices. And `throw`.
Findings check_doors(const File& file);

// Each public declaration of a header says what it is. Declarations are: classes, structs, enums
// and functions of a namespace, and public member functions of a class. A declaration is documented
// if one of these holds:
//   - a comment stands directly above it, or on one of its own lines;
//   - it fits on one line and stands directly below another documented one: siblings share a
//     comment, such as the units in base/time.h;
//   - it is the type that the file is named after, and the file opens with a comment.
// It needs no comment where its shape says what it is: a forward declaration, a friend, an
// operator, a destructor, a copy or move, an override, defaulted or deleted, a member defined
// outside its class; and on one line: a definition, a constructor, a const function without
// parameters.
Findings check_documented(const File& file);

// Every .cc is named in a CMakeLists.txt and every .h and .inc is included by some file. `builds`
// are the CMakeLists.txt files.
Findings check_orphans(const std::vector<File>& files, const std::vector<File>& builds);

}  // namespace sluice::tidy
