// SPDX-License-Identifier: Apache-2.0
// The only user of OpenSSL.
#include "base/tls.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <unordered_map>
#include <utility>
#include <vector>

#include "base/assert.h"

namespace sluice {

namespace {

constexpr size_t kSessionsMax = 64;
constexpr size_t kRecordBytes = 16 * 1024;  // the largest TLS record (RFC 8446, 5.1)

struct Free {
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
  void operator()(SSL* ssl) const { SSL_free(ssl); }
  void operator()(SSL_SESSION* session) const { SSL_SESSION_free(session); }
};
using ContextPtr = std::unique_ptr<SSL_CTX, Free>;
using SslPtr = std::unique_ptr<SSL, Free>;
using SessionPtr = std::unique_ptr<SSL_SESSION, Free>;

std::string openssl_reason() {
  const unsigned long code = ERR_get_error();
  ERR_clear_error();
  const char* reason = code != 0 ? ERR_reason_error_string(code) : nullptr;
  return reason != nullptr ? reason : "unknown reason";
}

Error file_error(const char* what, const std::string& file) {
  return {
      .code = Code::kInvalid,
      .message = std::string("cannot use the ") + what + " in " + file + ": " + openssl_reason()};
}

bool is_address(const std::string& host) {
  ASN1_OCTET_STRING* address = a2i_IPADDRESS(host.c_str());
  if (address == nullptr) {
    ERR_clear_error();
    return false;
  }
  ASN1_OCTET_STRING_free(address);
  return true;
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
  std::string failure() const;

  Context& context_;
  const std::unique_ptr<Stream> raw_;
  const std::string name_;
  Handshake* handshake_;  // null once it is over
  SslPtr ssl_;
  BIO* incoming_ = nullptr;  // the SSL's
  BIO* outgoing_ = nullptr;
  StreamEvents* events_ = nullptr;
  bool* dead_ = nullptr;  // set if this dies while it calls out
  bool ended_theirs_ = false;
  bool ended_ours_ = false;
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
    if (is_address(name)) {
      ASSERT(X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl.get()), name.c_str()) == 1);
    } else {
      SSL_set_tlsext_host_name(ssl.get(), name.c_str());
      SSL_set1_host(ssl.get(), name.c_str());
    }
    SSL_set_verify(ssl.get(), options_.verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, nullptr);
    const auto known = sessions_.find(name);
    if (known != sessions_.end()) SSL_set_session(ssl.get(), known->second.get());
    return ssl;
  }

  void keep_session(const std::string& name, SSL_SESSION* session) {
    if (sessions_.size() >= kSessionsMax && !sessions_.contains(name)) sessions_.clear();
    sessions_[name].reset(session);
  }

 private:
  const ContextPtr context_;
  const TlsOptions options_;
  std::unordered_map<std::string, SessionPtr> sessions_;
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
  const std::string& name = options_.server_name.empty() ? host : options_.server_name;
  return std::make_unique<Handshake>(*this, std::move(raw), name, std::move(done));
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

TlsStream::~TlsStream() {
  if (dead_ != nullptr) *dead_ = true;
}

void TlsStream::keep_session(SSL_SESSION* session) { context_.keep_session(name_, session); }

void TlsStream::on_bytes(std::string_view bytes) {
  ASSERT(BIO_write(incoming_, bytes.data(), static_cast<int>(bytes.size())) ==
         static_cast<int>(bytes.size()));
  if (handshake_ == nullptr) return deliver();
  bool dead = false;
  dead_ = &dead;
  shake_hands();
  if (dead) return;
  dead_ = nullptr;
  if (handshake_ == nullptr && events_ != nullptr) deliver();
}

void TlsStream::shake_hands() {
  ERR_clear_error();
  const int result = SSL_do_handshake(ssl_.get());
  const int error = SSL_get_error(ssl_.get(), result);
  flush();
  if (result == 1) return std::exchange(handshake_, nullptr)->succeed();
  if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) return;
  std::exchange(handshake_, nullptr)->fail(failure());
}

// Why the handshake failed, in words: what was wrong with the peer's certificate, or OpenSSL's own.
std::string TlsStream::failure() const {
  const long verified = SSL_get_verify_result(ssl_.get());
  if (verified == X509_V_OK) return openssl_reason();
  ERR_clear_error();
  return std::string("the certificate of ") + name_ +
         " is not accepted: " + X509_verify_cert_error_string(verified);
}

// Hands on everything that has arrived whole, in one piece, so that a taker who then wants no more
// gets no more.
void TlsStream::deliver() {
  std::string plain;
  int error = SSL_ERROR_NONE;
  while (error == SSL_ERROR_NONE) {
    const size_t before = plain.size();
    plain.resize(before + kRecordBytes);
    size_t got = 0;
    ERR_clear_error();
    const int result = SSL_read_ex(ssl_.get(), plain.data() + before, kRecordBytes, &got);
    plain.resize(before + got);
    error = SSL_get_error(ssl_.get(), result);
  }
  flush();  // an answer to what the peer asked of the connection itself
  bool dead = false;
  dead_ = &dead;
  if (!plain.empty() && !ended_theirs_) events_->on_bytes(plain);
  if (dead) return;
  if (error == SSL_ERROR_ZERO_RETURN) {
    if (!std::exchange(ended_theirs_, true)) events_->on_end();
  } else if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) {
    ERR_clear_error();
    events_->on_broken();
  }
  if (!dead) dead_ = nullptr;
}

void TlsStream::write(std::span<const Slice> parts) {
  if (ended_ours_) return;
  // Small parts share a record, for each costs a header and a tag.
  std::string gathered;
  const auto put = [this](std::string_view bytes) {
    size_t put_bytes = 0;
    ERR_clear_error();
    // A memory buffer takes everything, so this fails only on a connection that is dead already.
    if (!bytes.empty()) SSL_write_ex(ssl_.get(), bytes.data(), bytes.size(), &put_bytes);
  };
  for (const Slice& part : parts) {
    if (gathered.size() + part.size() > kRecordBytes) {
      put(gathered);
      gathered.clear();
    }
    if (part.size() >= kRecordBytes) {
      put(part.view());
    } else {
      gathered.append(part.view());
    }
  }
  put(gathered);
  flush();
}

void TlsStream::flush() {
  char* bytes = nullptr;
  const long size = BIO_get_mem_data(outgoing_, &bytes);
  if (size <= 0) return;
  const Slice part = Slice::copy_of({bytes, static_cast<size_t>(size)});
  BIO_reset(outgoing_);
  raw_->write({&part, 1});
}

void TlsStream::shut_down() {
  if (std::exchange(ended_ours_, true)) return;
  ERR_clear_error();
  SSL_shutdown(ssl_.get());
  flush();
  raw_->shut_down();
}

void TlsStream::on_end() {
  if (handshake_ != nullptr)
    return std::exchange(handshake_, nullptr)->fail("the peer closed during the handshake");
  if (!ended_theirs_) events_->on_broken();  // without close_notify anybody may have cut it
}

void TlsStream::on_drained() {
  if (handshake_ == nullptr) events_->on_drained();
}

void TlsStream::on_broken() {
  if (handshake_ != nullptr)
    return std::exchange(handshake_, nullptr)->fail("the connection broke during the handshake");
  events_->on_broken();
}

Result<Done> use_files(SSL_CTX& context, const TlsOptions& options) {
  const std::string& ca = options.ca_file;
  if (ca.empty()) {
    SSL_CTX_set_default_verify_paths(&context);
  } else if (SSL_CTX_load_verify_file(&context, ca.c_str()) != 1) {
    return file_error("authorities", ca);
  }
  const std::string& certificate = options.certificate_file;
  if (certificate.empty()) return Done{};
  if (SSL_CTX_use_certificate_chain_file(&context, certificate.c_str()) != 1)
    return file_error("certificate", certificate);
  if (SSL_CTX_use_PrivateKey_file(&context, options.key_file.c_str(), SSL_FILETYPE_PEM) != 1 ||
      SSL_CTX_check_private_key(&context) != 1)
    return file_error("key", options.key_file);
  return Done{};
}

}  // namespace

Result<std::unique_ptr<TlsContext>> TlsContext::make(const TlsOptions& options) {
  ContextPtr context(SSL_CTX_new(TLS_client_method()));
  ASSERT(context != nullptr);
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  constexpr unsigned char kHttp11[] = {8, 'h', 't', 't', 'p', '/', '1', '.', '1'};
  SSL_CTX_set_alpn_protos(context.get(), kHttp11, sizeof kHttp11);
  if (auto used = use_files(*context, options); !used.ok()) return used.error();
  return std::unique_ptr<TlsContext>(std::make_unique<Context>(std::move(context), options));
}

}  // namespace sluice
