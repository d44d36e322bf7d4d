// SPDX-License-Identifier: Apache-2.0
#pragma once
// TLS towards upstreams: a Stream over another Stream, with OpenSSL between two memory buffers, so
// that it works over any loop. A context and its streams belong to one loop's thread: the sessions
// and the buffer they share have no lock.

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/loop.h"
#include "base/result.h"

namespace sluice {

// How a TLS connection is verified and presented.
struct TlsOptions {
  bool verify = true;
  std::string ca_file = {};           // PEM; empty: the system's
  std::string certificate_file = {};  // PEM, of the client; empty: none
  std::string key_file = {};          // PEM, without a password; empty: it is in certificate_file
  std::string server_name = {};       // for SNI and verification; empty: the host dialed
};

// Everything that connections to one upstream share: authorities, the client's certificate,
// sessions to be resumed (of at most 64 names). TLS 1.2 and later; ALPN asks for http/1.1.
class TlsContext {
 public:
  // kInvalid, naming the file, if one cannot be read or does not fit another. A host that is an
  // address must stand as such in the certificate.
  static Result<std::unique_ptr<TlsContext>> make(const TlsOptions& options);
  virtual ~TlsContext() = default;
  // Handshakes that have succeeded so far: whole ones, and those that resumed a session.
  struct Stats {
    uint64_t full = 0;
    uint64_t resumed = 0;
  };
  virtual Stats stats() const = 0;

  // Shakes hands over `raw` as a client of `host`. `done` is called once, later, with the secured
  // stream, whose events must be set inside it, or kUpstream with the reason in words; how long it
  // may take is the caller's to bound. Destroying what is returned cancels. The end of the raw
  // stream without the peer's close_notify is on_broken, not on_end: what was cut must not look
  // complete. With TLS 1.3 a server that does not accept the client's certificate says so only
  // after the handshake, which is on_broken too. This outlives what it returns and its streams.
  virtual std::unique_ptr<Pending> connect(
      std::unique_ptr<Stream> raw, const std::string& host,
      std::function<void(Result<std::unique_ptr<Stream>>)> done) = 0;
};

}  // namespace sluice
