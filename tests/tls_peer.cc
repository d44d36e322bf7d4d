// SPDX-License-Identifier: Apache-2.0
#include "tests/tls_peer.h"

#include <doctest/doctest.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <utility>

namespace sluice {
namespace {

template <auto kFree>
struct Free {
  void operator()(auto* object) const { kFree(object); }
};
using KeyPtr = std::unique_ptr<EVP_PKEY, Free<&EVP_PKEY_free>>;
using CertificatePtr = std::unique_ptr<X509, Free<&X509_free>>;
using BioPtr = std::unique_ptr<BIO, Free<&BIO_free>>;

std::string text_of(BIO& bio) {
  char* bytes = nullptr;
  const long size = BIO_get_mem_data(&bio, &bytes);
  return {bytes, static_cast<size_t>(size)};
}

BioPtr bio_of(const std::string& text) {
  return BioPtr(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

KeyPtr key_of(const std::string& pem) {
  return KeyPtr(PEM_read_bio_PrivateKey(bio_of(pem).get(), nullptr, nullptr, nullptr));
}

CertificatePtr certificate_of(const std::string& pem) {
  return CertificatePtr(PEM_read_bio_X509(bio_of(pem).get(), nullptr, nullptr, nullptr));
}

void add_extension(X509& certificate, int what, const std::string& value) {
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, nullptr, what, value.c_str());
  REQUIRE(extension != nullptr);
  X509_add_ext(&certificate, extension, -1);
  X509_EXTENSION_free(extension);
}

}  // namespace

Identity make_identity(const Wanted& wanted, const Identity* issuer) {
  static long serial = 1;
  const KeyPtr key(EVP_EC_gen("P-256"));
  const CertificatePtr made(X509_new());
  X509_set_version(made.get(), X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(made.get()), serial++);
  ASN1_TIME_set_string(X509_getm_notBefore(made.get()), "20000101000000Z");
  ASN1_TIME_set_string(X509_getm_notAfter(made.get()), wanted.until.c_str());
  X509_set_pubkey(made.get(), key.get());
  X509_NAME_add_entry_by_txt(X509_get_subject_name(made.get()), "CN", MBSTRING_UTF8,
                             reinterpret_cast<const unsigned char*>(wanted.name.c_str()), -1, -1,
                             0);
  add_extension(*made, NID_basic_constraints, wanted.authority ? "critical,CA:TRUE" : "CA:FALSE");
  if (!wanted.alternative.empty()) {
    add_extension(*made, NID_subject_alt_name, wanted.alternative);
  }
  const KeyPtr signer = issuer != nullptr ? key_of(issuer->key) : nullptr;
  const CertificatePtr above = issuer != nullptr ? certificate_of(issuer->certificate) : nullptr;
  X509_set_issuer_name(made.get(),
                       X509_get_subject_name(above != nullptr ? above.get() : made.get()));
  REQUIRE(X509_sign(made.get(), signer != nullptr ? signer.get() : key.get(), EVP_sha256()) > 0);
  const BioPtr certificate_text(BIO_new(BIO_s_mem()));
  const BioPtr key_text(BIO_new(BIO_s_mem()));
  PEM_write_bio_X509(certificate_text.get(), made.get());
  PEM_write_bio_PrivateKey(key_text.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr);
  return {text_of(*certificate_text), text_of(*key_text)};
}

struct TlsPeer::Ssl {
  SSL_CTX* context = SSL_CTX_new(TLS_server_method());
  SSL* ssl = nullptr;  // of the present connection
  BIO* incoming = nullptr;
  BIO* outgoing = nullptr;
  ~Ssl() {
    SSL_free(ssl);
    SSL_CTX_free(context);
  }
};

class TlsPeer::Raw final : public Stream {
 public:
  explicit Raw(TlsPeer& peer) : peer_(peer) {}
  ~Raw() override {
    peer_.raw_open = false;
    peer_.events_ = nullptr;
  }
  void set_events(StreamEvents* events) override { peer_.events_ = events; }
  void write(std::span<const Slice> parts) override {
    ++peer_.raw_writes;
    for (const Slice& part : parts) {
      peer_.upward_ += part.view();
      peer_.raw_bytes += part.size();
    }
  }
  size_t unsent_bytes() const override { return peer_.upward_.size(); }
  void read(bool wanted) override { peer_.client_reads = wanted; }
  void shut_down() override { peer_.finished = true; }
  std::string peer() const override { return "peer:1"; }

 private:
  TlsPeer& peer_;
};

TlsPeer::TlsPeer(const Options& options) : options_(options), ssl_(std::make_unique<Ssl>()) {
  SSL_CTX& context = *ssl_->context;
  REQUIRE(SSL_CTX_use_certificate(&context, certificate_of(options.identity.certificate).get()));
  REQUIRE(SSL_CTX_use_PrivateKey(&context, key_of(options.identity.key).get()));
  const unsigned char kName[] = "sluice";
  SSL_CTX_set_session_id_context(&context, kName, sizeof(kName));
  if (options.tls12) SSL_CTX_set_max_proto_version(&context, TLS1_2_VERSION);
  if (!options.client_authority.empty()) {
    X509_STORE_add_cert(SSL_CTX_get_cert_store(&context),
                        certificate_of(options.client_authority).get());
    SSL_CTX_set_verify(&context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  }
}

TlsPeer::~TlsPeer() = default;

std::unique_ptr<Stream> TlsPeer::accept() {
  REQUIRE(!raw_open);
  SSL_free(ssl_->ssl);
  ssl_->ssl = SSL_new(ssl_->context);
  ssl_->incoming = BIO_new(BIO_s_mem());
  ssl_->outgoing = BIO_new(BIO_s_mem());
  SSL_set_bio(ssl_->ssl, ssl_->incoming, ssl_->outgoing);
  SSL_set_accept_state(ssl_->ssl);
  got.clear();
  upward_.clear();
  closed = finished = false;
  client_reads = raw_open = true;
  raw_writes = raw_bytes = 0;
  return std::make_unique<Raw>(*this);
}

bool TlsPeer::to_server() {
  const size_t size = std::min(options_.piece, upward_.size());
  if (size == 0) return false;
  BIO_write(ssl_->incoming, upward_.data(), static_cast<int>(size));
  upward_.erase(0, size);
  ERR_clear_error();
  char buffer[16384];
  size_t read = 0;
  while (SSL_read_ex(ssl_->ssl, buffer, sizeof(buffer), &read) == 1) got.append(buffer, read);
  closed = (SSL_get_shutdown(ssl_->ssl) & SSL_RECEIVED_SHUTDOWN) != 0;
  if (upward_.empty() && events_ != nullptr) events_->on_drained();
  return true;
}

bool TlsPeer::to_client() {
  if (events_ == nullptr || !client_reads) return false;
  char buffer[65536];
  const size_t most = std::min(options_.piece, sizeof(buffer));
  const int size = BIO_read(ssl_->outgoing, buffer, static_cast<int>(most));
  if (size <= 0) return false;
  events_->on_bytes({buffer, static_cast<size_t>(size)});
  return true;
}

void TlsPeer::pump() {
  while (to_server() || to_client()) {
  }
}

void TlsPeer::write(std::string_view text) {
  size_t written = 0;
  REQUIRE(SSL_write_ex(ssl_->ssl, text.data(), text.size(), &written) == 1);
}

void TlsPeer::close_notify() { SSL_shutdown(ssl_->ssl); }
void TlsPeer::cut() { events_->on_end(); }
void TlsPeer::reset() { events_->on_broken(); }
bool TlsPeer::resumed() const { return SSL_session_reused(ssl_->ssl) == 1; }

std::string TlsPeer::sni() const {
  const char* name = SSL_get_servername(ssl_->ssl, TLSEXT_NAMETYPE_host_name);
  return name != nullptr ? name : "";
}

}  // namespace sluice
