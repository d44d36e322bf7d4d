// SPDX-License-Identifier: Apache-2.0
#pragma once
// ResponseReader: reads HTTP/1.1 responses off a stream, one after the other, and keeps only what a
// load generator asks about: the status, the number of body bytes, and whether the connection lives
// on. It is independent of the server's own parser, so that one cannot hide the other's faults.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace sluice::load {

class ResponseReader {
 public:
  // Starts the next response. A response to HEAD ends with its header, whatever its length says.
  void begin(bool to_head);
  // Takes bytes of the stream and returns how many belonged to the current response; stops behind
  // its last byte. Takes nothing once done() or bad().
  size_t feed(std::string_view data);
  // The stream has ended: completes a response whose body lasts until then; any other unfinished
  // response becomes bad().
  void end_of_stream();

  bool done() const { return part_ == Part::kDone; }
  bool bad() const { return part_ == Part::kBad; }
  // Whether any byte of the current response has arrived.
  bool started() const { return started_; }
  // REQUIRES done(): whether another request may follow on the connection.
  bool keeps_alive() const { return keeps_alive_; }
  // REQUIRES done(): the status code of the final response; interim ones (1xx) are skipped.
  int status() const { return status_; }
  // Body bytes so far, after chunked framing is taken off.
  uint64_t body_bytes() const { return body_bytes_; }

 private:
  enum class Part {
    kStatusLine,
    kHeader,
    kBody,
    kBodyUntilEnd,
    kChunkSize,
    kChunkData,
    kChunkEnd,
    kTrailer,
    kDone,
    kBad
  };

  bool in_line() const;
  size_t take_body(std::string_view data);
  size_t take_line(std::string_view data);
  void on_line(std::string_view line);
  void on_status_line(std::string_view line);
  void on_header(std::string_view line);
  void on_header_end();
  void on_chunk_size(std::string_view line);

  Part part_ = Part::kDone;
  std::string line_;  // the part of a line that has arrived so far
  uint64_t left_ = 0;
  uint64_t body_bytes_ = 0;
  int status_ = 0;
  bool to_head_ = false;
  bool started_ = false;
  bool chunked_ = false;
  bool has_length_ = false;
  bool keeps_alive_ = true;
};

}  // namespace sluice::load
