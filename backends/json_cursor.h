// SPDX-License-Identifier: Apache-2.0
#pragma once
// JsonCursor: reads a JSON text front to back and checks it as it goes, for answers that are mostly
// long arrays of numbers and of which the reader knows the shape. Looking at each byte once is what
// it is for: parse_json() and then walking the same text would look three times.

#include <string>
#include <string_view>

#include "base/chunk.h"
#include "base/error.h"

namespace sluice {

// After a failure every call fails, so that checks may wait until error() is asked. What it has
// accepted of a text is as valid as parse_json() demands; only the uniqueness of keys in objects
// that were entered is for the reader to see to. Belongs to one thread.
class JsonCursor {
 public:
  // `text` outlives the cursor.
  explicit JsonCursor(const Slice& text);

  // The first byte of the value that comes next, or 0 if there is none.
  char peek();
  // Steps into the object or array that comes next: `bracket` is '{' or '['.
  bool enter(char bracket);
  // Steps to the next member of the object entered last and gives its key, which stays valid until
  // the next call; its value must be read then. False at the end, which leaves the object.
  bool next_member(std::string_view& key);
  // Steps to the next item of the array entered last. False at the end, which leaves the array.
  bool next_item();

  // Reads any value and gives it as it stands; empty on failure.
  Slice value();
  // Reads an array of one or more numbers; anything else is a failure.
  Slice numbers();
  // If a string comes next, the bytes from its opening quote to the next quote, unchecked; else
  // nothing. What has been found to need no escapes and to be ASCII may then be taken at once.
  std::string_view up_to_quote();
  // Reads the string whose content is the next `size` bytes, as up_to_quote() gave them.
  Slice take_plain(size_t size);
  // Reads a number that is an integer in [0, max].
  bool count(uint64_t max, uint64_t& number);
  // Whether the text has ended, but for blanks.
  bool finish();

  // Makes it fail, with what is wrong, unless it has failed before. Returns false.
  bool fail(std::string_view problem);
  bool failed() const { return failed_; }
  // kUpstream, for people: what was wrong and at which byte. REQUIRES: failed()
  Error error() const;

 private:
  void skip_blanks();
  bool step(char closing);
  const char* number(const char* at);
  Slice container();
  Slice slice(const char* begin, const char* end) const;

  const Slice& text_;
  const char* const begin_;
  const char* const end_;
  const char* at_;
  bool first_ = false;  // nothing was read yet of the container entered last
  bool failed_ = false;
  std::string key_;  // of the last member, where it had escapes
  std::string problem_;
};

}  // namespace sluice
