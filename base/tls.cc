// SPDX-License-Identifier: Apache-2.0
#include "base/tls.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <cstring>
#include <string_view>
#include <system_error>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/assert.h"

namespace sluice {
namespace {

constexpr size_t kSessionsMax = 64;
constexpr size_t kRecordBytes = 16 * 1024;  // the largest TLS record (RFC 8446, 5.1)
// A memory buffer never shrinks, so that a large write goes through it in pieces.
constexpr long kOutgoingBytes = 128 * 1024;

struct Free {
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
  void operator()(SSL* ssl) const { SSL_free(ssl); }
  void operator()(SSL_SESSION* session) const { SSL_SESSION_free(session); }
};
using ContextPtr = std::unique_ptr<SSL_CTX, Free>;
using SslPtr = std::unique_ptr<SSL, Free>;
using SessionPtr = std::unique_ptr<SSL_SESSION, Free>;

// The first thing that went wrong, for what follows it is only where that led.
std::string openssl_reason() {
  const unsigned long code = ERR_get_error();
  ERR_clear_error();
  if (ERR_SYSTEM_ERROR(code)) return std::generic_category().message(ERR_GET_REASON(code));
  const char* reason = code != 0 ? ERR_reason_error_string(code) : nullptr;
  return reason != nullptr ? reason : "unknown reason";
}

Error file_error(const char* what, const std::string& file) {
  return {Code::kInvalid,
          std::string("cannot use the ") + what + " in '" + file + "': " + openssl_reason()};
}

bool is_address(const std::string& host) {
  ASN1_OCTET_STRING* address = a2i_IPADDRESS(host.c_str());
  ASN1_OCTET_STRING_free(address);
  ERR_clear_error();
  return address != nullptr;
}

class Context;
class Handshake;

// One connection, from its handshake on.
class TlsStream final : public Stream, StreamEvents {
 public:
  TlsStream(Context& context, std::unique_ptr<Stream> raw, std::string name, Handshake& handshake);
  ~TlsStream() override;

  // Sends the first message of the handshake.
  void start() { shake_hands(); }
  // A session that a later connection to the same name can resume. Takes it.
  void keep_session(SSL_SESSION* session);

  void set_events(StreamEvents* events) override { events_ = events; }
  void write(std::span<const Slice> parts) override;
  size_t unsent_bytes() const override { return raw_->unsent_bytes(); }
  void read(bool wanted) override { raw_->read(wanted); }
  void shut_down() override;
  std::string peer() const override { return raw_->peer(); }

 private:
  void on_bytes(std::string_view bytes) override;
  void on_end() override;
  void on_drained() override;
  void on_broken() override;

  void shake_hands();
  void deliver();
  void flush();
  void put(std::string_view bytes);
  void put_gathered(size_t& gathered);
  void fail();
  std::string failure() const;

  Context& context_;
  const std::unique_ptr<Stream> raw_;
  const std::string name_;
  Handshake* handshake_;  // null once it is over
  SslPtr ssl_;
  BIO* incoming_ = nullptr;  // the SSL's
  BIO* outgoing_ = nullptr;
  StreamEvents* events_ = nullptr;
  bool owes_drained_ = false;  // something was written since the owner was last told
  bool ended_theirs_ = false;
  bool ended_ours_ = false;
  bool broken_ = false;
};

class Context final : public TlsContext {
 public:
  Context(ContextPtr context, TlsOptions options)
      : context_(std::move(context)), options_(std::move(options)) {
    SSL_CTX_set_session_cache_mode(context_.get(),
                                   SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(context_.get(), [](SSL* ssl, SSL_SESSION* session) {
      static_cast<TlsStream*>(SSL_get_app_data(ssl))->keep_session(session);
      return 1;
    });
  }

  std::unique_ptr<Pending> connect(
      std::unique_ptr<Stream> raw, const std::string& host,
      std::function<void(Result<std::unique_ptr<Stream>>)> done) override;

  // An SSL for a connection to `name`, its peer verified as configured.
  SslPtr make_ssl(const std::string& name) {
    SslPtr ssl(SSL_new(context_.get()));
    ASSERT(ssl != nullptr);
    SSL_set_connect_state(ssl.get());
    SSL_set_hostflags(ssl.get(), X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    if (is_address(name)) {
      ASSERT(X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl.get()), name.c_str()) == 1);
    } else {
      SSL_set_tlsext_host_name(ssl.get(), name.c_str());
      SSL_set1_host(ssl.get(), name.c_str());
    }
    SSL_set_verify(ssl.get(), verifies() ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, nullptr);
    const auto known = sessions_.find(name);
    if (known != sessions_.end()) SSL_set_session(ssl.get(), known->second.get());
    return ssl;
  }

  Stats stats() const override { return stats_; }
  void count_handshake(bool resumed) { ++(resumed ? stats_.resumed : stats_.full); }
  // The stream that calls its owner now; null if it died of that.
  const TlsStream* calling = nullptr;
  bool verifies() const { return options_.verify; }
  // Room for what one stream reads now, and for the record that one writes; between calls nothing
  // is kept in them.
  std::vector<char>& plain() { return plain_; }
  char* record() { return record_.get(); }

  void keep_session(const std::string& name, SSL_SESSION* session) {
    if (sessions_.size() >= kSessionsMax && !sessions_.contains(name)) sessions_.clear();
    sessions_[name].reset(session);
  }

 private:
  Stats stats_;
  const ContextPtr context_;
  const TlsOptions options_;
  std::unordered_map<std::string, SessionPtr> sessions_;
  std::vector<char> plain_ = std::vector<char>(2 * kRecordBytes);
  const std::unique_ptr<char[]> record_{new char[kRecordBytes]};
};

// A handshake under way. It owns the stream until that is handed over.
class Handshake final : public Pending {
 public:
  using Done = std::function<void(Result<std::unique_ptr<Stream>>)>;
  Handshake(Context& context, std::unique_ptr<Stream> raw, std::string name, Done done)
      : done_(std::move(done)),
        stream_(std::make_unique<TlsStream>(context, std::move(raw), std::move(name), *this)) {
    stream_->start();
  }

  // The owner may destroy this in either call.
  void succeed() {
    const Done done = std::move(done_);
    done(std::unique_ptr<Stream>(std::move(stream_)));
  }
  void fail(const std::string& reason) {
    const Done done = std::move(done_);
    done(Error{.code = Code::kUpstream, .message = "TLS: " + reason});
  }

 private:
  Done done_;
  std::unique_ptr<TlsStream> stream_;
};

std::unique_ptr<Pending> Context::connect(
    std::unique_ptr<Stream> raw, const std::string& host,
    std::function<void(Result<std::unique_ptr<Stream>>)> done) {
  std::string name = options_.server_name.empty() ? host : options_.server_name;
  // A name may end in a dot for the resolver; certificates and SNI know none (RFC 6066, 3).
  if (name.ends_with('.')) name.pop_back();
  return std::make_unique<Handshake>(*this, std::move(raw), std::move(name), std::move(done));
}

TlsStream::TlsStream(Context& context, std::unique_ptr<Stream> raw, std::string name,
                     Handshake& handshake)
    : context_(context),
      raw_(std::move(raw)),
      name_(std::move(name)),
      handshake_(&handshake),
      ssl_(context.make_ssl(name_)) {
  incoming_ = BIO_new(BIO_s_mem());
  outgoing_ = BIO_new(BIO_s_mem());
  ASSERT(incoming_ != nullptr && outgoing_ != nullptr);
  SSL_set_bio(ssl_.get(), incoming_, outgoing_);
  SSL_set_app_data(ssl_.get(), this);
  raw_->set_events(this);
}

// A session counts as spoilt if its connection was not shut down, unless OpenSSL is told otherwise;
// that a connection is dropped is no reason not to resume its session.
TlsStream::~TlsStream() {
  if (!broken_) SSL_set_shutdown(ssl_.get(), SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
  if (context_.calling == this) context_.calling = nullptr;
}

void TlsStream::keep_session(SSL_SESSION* session) { context_.keep_session(name_, session); }

void TlsStream::on_bytes(std::string_view bytes) {
  if (broken_) return;
  ASSERT(BIO_write(incoming_, bytes.data(), static_cast<int>(bytes.size())) ==
         static_cast<int>(bytes.size()));
  if (handshake_ == nullptr) return deliver();
  Context& context = context_;
  context.calling = this;
  shake_hands();
  if (context.calling == this && handshake_ == nullptr && events_ != nullptr) deliver();
}

void TlsStream::shake_hands() {
  ERR_clear_error();
  const int result = SSL_do_handshake(ssl_.get());
  const int error = SSL_get_error(ssl_.get(), result);
  flush();
  if (result == 1) context_.count_handshake(SSL_session_reused(ssl_.get()) == 1);
  if (result == 1) return std::exchange(handshake_, nullptr)->succeed();
  if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) return;
  broken_ = true;
  std::exchange(handshake_, nullptr)->fail(failure());
}

// Why the handshake failed, in words: what was wrong with the peer's certificate, or OpenSSL's own.
std::string TlsStream::failure() const {
  const long verified = SSL_get_verify_result(ssl_.get());
  if (!context_.verifies() || verified == X509_V_OK) return openssl_reason();
  ERR_clear_error();
  return std::string("the certificate of ") + name_ +
         " is not accepted: " + X509_verify_cert_error_string(verified);
}

// Hands on everything that has arrived whole, in one piece, so that a taker who then wants no more
// gets no more.
void TlsStream::deliver() {
  std::vector<char>& plain = context_.plain();
  size_t size = 0;
  int error = SSL_ERROR_NONE;
  while (error == SSL_ERROR_NONE) {
    if (plain.size() - size < kRecordBytes) plain.resize(2 * plain.size());
    size_t got = 0;
    ERR_clear_error();
    const int result = SSL_read_ex(ssl_.get(), plain.data() + size, kRecordBytes, &got);
    size += got;
    error = SSL_get_error(ssl_.get(), result);
  }
  flush();  // an answer to what the peer asked of the connection itself
  Context& context = context_;
  context.calling = this;
  if (size > 0 && !ended_theirs_) events_->on_bytes({plain.data(), size});
  if (context.calling != this) return;
  if (error == SSL_ERROR_ZERO_RETURN) {
    if (!std::exchange(ended_theirs_, true)) events_->on_end();
  } else if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) {
    fail();
  }
}

// Tells the owner last, who may destroy this.
void TlsStream::fail() {
  ERR_clear_error();
  if (std::exchange(broken_, true)) return;
  events_->on_broken();
}

// Small parts share a record, for each costs a header and a tag.
void TlsStream::write(std::span<const Slice> parts) {
  if (ended_ours_ || broken_) return;
  size_t gathered = 0;  // bytes of the next record
  for (const Slice& part : parts) {
    if (part.empty()) continue;
    owes_drained_ = true;
    if (gathered + part.size() > kRecordBytes) put_gathered(gathered);
    if (part.size() >= kRecordBytes) {
      for (size_t at = 0; at < part.size(); at += kRecordBytes) {
        put(part.view().substr(at, kRecordBytes));
      }
    } else {
      std::memcpy(context_.record() + gathered, part.data(), part.size());
      gathered += part.size();
    }
  }
  put_gathered(gathered);
  flush();
}

void TlsStream::put_gathered(size_t& gathered) {
  if (gathered > 0) put({context_.record(), std::exchange(gathered, 0)});
}

// A memory buffer takes everything, so this fails only on a connection that is dead already, of
// which reading tells.
void TlsStream::put(std::string_view bytes) {
  size_t taken = 0;
  ERR_clear_error();
  SSL_write_ex(ssl_.get(), bytes.data(), bytes.size(), &taken);
  if (BIO_pending(outgoing_) >= kOutgoingBytes) flush();
}

void TlsStream::flush() {
  char* bytes = nullptr;
  const long size = BIO_get_mem_data(outgoing_, &bytes);
  if (size <= 0) return;
  const Slice part = Slice::copy_of({bytes, static_cast<size_t>(size)});
  (void)BIO_reset(outgoing_);
  raw_->write({&part, 1});
}

void TlsStream::shut_down() {
  if (broken_ || std::exchange(ended_ours_, true)) return;
  ERR_clear_error();
  SSL_shutdown(ssl_.get());
  flush();
  raw_->shut_down();
}

void TlsStream::on_end() {
  if (broken_) return;
  if (handshake_ != nullptr) {
    broken_ = true;
    return std::exchange(handshake_, nullptr)->fail("the peer closed during the handshake");
  }
  if (!ended_theirs_) fail();  // without close_notify anybody may have cut it
}

void TlsStream::on_drained() {
  if (std::exchange(owes_drained_, false)) events_->on_drained();
}

void TlsStream::on_broken() {
  if (broken_) return;
  if (handshake_ == nullptr) return fail();
  broken_ = true;
  std::exchange(handshake_, nullptr)->fail("the connection broke during the handshake");
}

Result<Done> use_files(SSL_CTX& context, const TlsOptions& options) {
  const std::string& ca = options.ca_file;
  if (ca.empty()) {
    SSL_CTX_set_default_verify_paths(&context);
  } else if (SSL_CTX_load_verify_file(&context, ca.c_str()) != 1) {
    return file_error("authorities", ca);
  }
  const std::string& certificate = options.certificate_file;
  if (certificate.empty() && options.key_file.empty()) return Done{};
  if (certificate.empty()) {
    return Error{.code = Code::kInvalid,
                 .message = "there is a key in '" + options.key_file + "' but no certificate"};
  }
  // One file may hold both.
  const std::string& key = options.key_file.empty() ? certificate : options.key_file;
  if (SSL_CTX_use_certificate_chain_file(&context, certificate.c_str()) != 1) {
    return file_error("certificate", certificate);
  }
  if (SSL_CTX_use_PrivateKey_file(&context, key.c_str(), SSL_FILETYPE_PEM) != 1 ||
      SSL_CTX_check_private_key(&context) != 1) {
    return file_error("key", key);
  }
  return Done{};
}

}  // namespace

Result<std::unique_ptr<TlsContext>> TlsContext::make(const TlsOptions& options) {
  ContextPtr context(SSL_CTX_new(TLS_client_method()));
  ASSERT(context != nullptr);
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  SSL_CTX_set_options(context.get(), SSL_OP_NO_RENEGOTIATION);
  SSL_CTX_set_mode(context.get(), SSL_MODE_RELEASE_BUFFERS);  // idle connections are many
  // Without this, OpenSSL asks at the terminal for the password of a key that has one.
  SSL_CTX_set_default_passwd_cb(context.get(), [](char*, int, int, void*) { return -1; });
  constexpr unsigned char kHttp11[] = {8, 'h', 't', 't', 'p', '/', '1', '.', '1'};
  SSL_CTX_set_alpn_protos(context.get(), kHttp11, sizeof kHttp11);
  if (auto used = use_files(*context, options); !used.ok()) return used.error();
  return std::unique_ptr<TlsContext>(std::make_unique<Context>(std::move(context), options));
}

}  // namespace sluice
