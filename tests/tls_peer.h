// SPDX-License-Identifier: Apache-2.0
#pragma once
// The other side of a TLS connection in tests: a server of OpenSSL's own over a pair of buffers,
// and the certificates it needs, made on the spot. Nothing moves but in TlsPeer::pump().

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/loop.h"
#include "base/tls.h"

namespace sluice {

// A certificate with its key, both as PEM.
struct Identity {
  std::string certificate;
  std::string key;
};

// What a certificate is made for.
struct Wanted {
  std::string name;                       // of the subject
  std::string alternative = {};           // e.g. "DNS:localhost" or "IP:127.0.0.1"
  std::string until = "29990101000000Z";  // its last moment
  bool authority = false;
};

// Signed by `issuer`, or by itself without one.
Identity make_identity(const Wanted& wanted, const Identity* issuer = nullptr);

// The server, and the wire between it and one client.
class TlsPeer {
 public:
  struct Options {
    Identity identity;
    std::string client_authority = {};  // PEM; if set, clients must bring a certificate of it
    bool tls12 = false;                 // nothing newer
    size_t piece = SIZE_MAX;            // bytes that travel at a time
  };
  explicit TlsPeer(const Options& options);
  ~TlsPeer();
  TlsPeer(const TlsPeer&) = delete;
  TlsPeer& operator=(const TlsPeer&) = delete;

  // A new connection: the client's raw stream. REQUIRES: the one before is gone.
  std::unique_ptr<Stream> accept();
  // Moves bytes both ways until nothing moves any more.
  void pump();
  void write(std::string_view text);
  void close_notify();
  // The raw stream ends, or breaks, at once.
  void cut();
  void reset();

  std::string got;        // what the client has sent
  bool closed = false;    // the client's close_notify has come
  bool finished = false;  // the client's FIN
  bool resumed() const;   // the session was an earlier connection's
  std::string sni() const;
  size_t raw_writes = 0;  // write() calls of the client on its raw stream
  size_t raw_bytes = 0;
  bool client_reads = true;  // what the client has told its raw stream last
  bool raw_open = false;     // the client still holds it

 private:
  struct Ssl;
  class Raw;
  bool to_server();
  bool to_client();

  const Options options_;
  std::unique_ptr<Ssl> ssl_;
  StreamEvents* events_ = nullptr;
  std::string upward_;  // from the client, under way
};

}  // namespace sluice
