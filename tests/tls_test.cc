// SPDX-License-Identifier: Apache-2.0
#include "base/tls.h"

#include <doctest/doctest.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tests/model_files.h"
#include "tests/tls_peer.h"

namespace sluice {
namespace {

// An authority, and servers and clients that it vouches for.
struct Pki {
  TempFolder folder;
  int files = 0;
  Identity authority = make_identity({.name = "authority", .authority = true});
  std::string authority_file = file(authority.certificate);
  Identity good = make_identity(
      {.name = "good", .alternative = "DNS:model.example,IP:127.0.0.1,IP:::1"}, &authority);

  std::string file(std::string_view text) {
    return folder.write(std::to_string(files++) + ".pem", text);
  }
  std::unique_ptr<TlsContext> context(const TlsOptions& options) {
    auto made = TlsContext::make(options);
    REQUIRE(made.ok());
    return std::move(made).value();
  }
  // Trusts the authority.
  std::unique_ptr<TlsContext> context() { return context({.ca_file = authority_file}); }
};

// A client that keeps what it hears.
struct Heard final : StreamEvents {
  std::unique_ptr<Pending> pending;
  std::unique_ptr<Stream> stream;
  std::string error;
  std::string bytes;
  size_t calls = 0;
  int ends = 0;
  int drains = 0;
  int breaks = 0;
  int reports = 0;
  std::function<void()> on_something = [] {};

  void connect(TlsContext& context, TlsPeer& peer, const std::string& host = "model.example") {
    stream.reset();
    pending.reset();
    *this = Heard();
    std::unique_ptr<Stream> raw = peer.accept();
    pending = context.connect(std::move(raw), host, [this](Result<std::unique_ptr<Stream>> made) {
      ++reports;
      if (!made.ok()) {
        CHECK(made.error().code == Code::kUpstream);
        error = made.error().message;
        return;
      }
      stream = std::move(made).value();
      stream->set_events(this);
    });
    CHECK(reports == 0);
    peer.pump();
  }
  void on_bytes(std::string_view some) override {
    ++calls;
    bytes += some;
    on_something();
  }
  void on_end() override {
    ++ends;
    on_something();
  }
  void on_drained() override { ++drains; }
  void on_broken() override {
    ++breaks;
    on_something();
  }
  void write(std::string_view text) {
    const Slice part = Slice::copy_of(text);
    stream->write({&part, 1});
  }
};

bool has(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

std::string pattern(size_t bytes) {
  std::string text(bytes, ' ');
  for (size_t i = 0; i < bytes; ++i) text[i] = static_cast<char>(i * 31 % 251);
  return text;
}

TEST_CASE("a server that the own authority vouches for is spoken to, both ways") {
  Pki pki;
  const auto context = pki.context();
  for (const bool tls12 : {false, true}) {
    for (const size_t piece : {SIZE_MAX, size_t{1}}) {
      CAPTURE(tls12);
      CAPTURE(piece);
      TlsPeer peer({.identity = pki.good, .tls12 = tls12, .piece = piece});
      Heard client;
      client.connect(*context, peer);
      REQUIRE(client.stream != nullptr);
      CHECK(peer.sni() == "model.example");
      CHECK(client.drains == 0);  // of the handshake's own bytes nobody hears
      client.write("question");
      peer.pump();
      CHECK(peer.got == "question");
      CHECK(client.drains == 1);
      CHECK(client.stream->unsent_bytes() == 0);
      peer.write("answer");
      peer.pump();
      CHECK(client.bytes == "answer");
      CHECK(client.reports == 1);
    }
  }
}

TEST_CASE("whom the certificate does not name is refused, be it a name or an address") {
  Pki pki;
  const auto context = pki.context();
  TlsPeer peer({.identity = pki.good});
  const std::vector<std::pair<std::string, std::string>> hosts = {
      {"model.example", ""},  {"127.0.0.1", ""},         {"::1", ""},
      {"model.example.", ""}, {"other.example", "name"}, {"127.0.0.2", "IP"}};
  for (const auto& [host, why] : hosts) {
    CAPTURE(host);
    Heard client;
    client.connect(*context, peer, host);
    CHECK((client.stream != nullptr) == why.empty());
    CHECK(client.reports == 1);
    if (!why.empty()) CHECK(has(client.error, why == "IP" ? "IP address mismatch" : "ostname mis"));
  }
  const auto named = pki.context({.ca_file = pki.authority_file, .server_name = "model.example"});
  Heard client;
  client.connect(*named, peer, "10.0.0.1");
  CHECK(client.stream != nullptr);
  CHECK(peer.sni() == "model.example");
}

TEST_CASE("expired, self-signed and unknown are refused in words, and accepted without verify") {
  Pki pki;
  const Wanted old = {
      .name = "old", .alternative = "DNS:model.example", .until = "20010101000000Z"};
  const Identity stranger = make_identity({.name = "stranger", .authority = true});
  const Wanted fine = {.name = "fine", .alternative = "DNS:model.example"};
  const std::vector<std::pair<Identity, std::string>> servers = {
      {make_identity(old, &pki.authority), "certificate has expired"},
      {make_identity(fine), "self-signed certificate"},
      {make_identity(fine, &stranger), "unable to get local issuer certificate"}};
  const auto context = pki.context();
  const auto careless = pki.context({.verify = false});
  for (const auto& [identity, reason] : servers) {
    CAPTURE(reason);
    TlsPeer peer({.identity = identity});
    Heard client;
    client.connect(*context, peer);
    CHECK(client.stream == nullptr);
    CHECK(has(client.error, reason));
    client.connect(*careless, peer);
    CHECK(client.stream != nullptr);
    CHECK(client.error.empty());
  }
  // Without an own authority it is the system's that count, which know nothing of ours.
  const auto usual = pki.context(TlsOptions{});
  TlsPeer peer({.identity = pki.good});
  Heard client;
  client.connect(*usual, peer);
  CHECK(client.stream == nullptr);
}

TEST_CASE("a server that asks for a certificate gets it, and without one does not talk") {
  Pki pki;
  const Identity me = make_identity({.name = "me"}, &pki.authority);
  const auto with = pki.context({.ca_file = pki.authority_file,
                                 .certificate_file = pki.file(me.certificate),
                                 .key_file = pki.file(me.key)});
  const auto both = pki.context(
      {.ca_file = pki.authority_file, .certificate_file = pki.file(me.key + me.certificate)});
  const auto without = pki.context();
  for (const bool tls12 : {false, true}) {
    CAPTURE(tls12);
    TlsPeer peer(
        {.identity = pki.good, .client_authority = pki.authority.certificate, .tls12 = tls12});
    for (TlsContext* context : {with.get(), both.get()}) {
      Heard client;
      client.connect(*context, peer);
      REQUIRE(client.stream != nullptr);
      client.write("it is me");
      peer.pump();
      CHECK(peer.got == "it is me");
    }
    Heard client;
    client.connect(*without, peer);
    // TLS 1.3 has finished for the client when the server looks at what it brought.
    CHECK(client.breaks == (tls12 ? 0 : 1));
    if (tls12) CHECK(has(client.error, "alert"));
  }
}

TEST_CASE("the second connection to a name resumes the session of the first, dropped or not") {
  Pki pki;
  for (const bool tls12 : {false, true}) {
    for (const bool dropped : {false, true}) {
      CAPTURE(tls12);
      CAPTURE(dropped);
      const auto context = pki.context();
      TlsPeer peer({.identity = pki.good, .tls12 = tls12});
      Heard client;
      client.connect(*context, peer);
      CHECK(!peer.resumed());
      if (!dropped) client.stream->shut_down();
      peer.pump();
      client.connect(*context, peer);
      REQUIRE(client.stream != nullptr);
      CHECK(peer.resumed());
      client.write("again");
      peer.pump();
      CHECK(peer.got == "again");
      client.connect(*context, peer, "127.0.0.1");
      CHECK(client.stream != nullptr);
      CHECK(!peer.resumed());
      CHECK((context->stats().full == 2 && context->stats().resumed == 1));
    }
  }
}

TEST_CASE("sessions are kept of so many names and no more") {
  Pki pki;
  const auto context = pki.context({.verify = false});
  TlsPeer peer({.identity = pki.good});
  Heard client;
  for (int i = 0; i < 65; ++i) client.connect(*context, peer, "host" + std::to_string(i));
  client.connect(*context, peer, "host64");
  CHECK(peer.resumed());
  client.connect(*context, peer, "host0");
  CHECK(!peer.resumed());
}

TEST_CASE("large bodies arrive whole, and reading stops when nobody wants more") {
  Pki pki;
  const auto context = pki.context();
  TlsPeer peer({.identity = pki.good, .piece = 50'000});
  Heard client;
  client.connect(*context, peer);
  REQUIRE(client.stream != nullptr);
  const std::string up = pattern(5'000'000);
  const std::string down = pattern(3'000'001);
  client.write(up);
  CHECK(client.stream->unsent_bytes() > up.size());  // with what TLS adds
  peer.write(down);
  client.on_something = [&] {
    if (client.calls == 3) client.stream->read(false);
    client.write("!");  // while the bytes that arrived are still being read
  };
  peer.pump();
  CHECK(client.calls == 3);
  CHECK(client.bytes == down.substr(0, client.bytes.size()));
  client.stream->read(true);
  peer.pump();
  CHECK(client.bytes == down);
  CHECK(peer.got == up + std::string(client.calls, '!'));
}

TEST_CASE("many small parts share a record, and an idle stream writes none") {
  Pki pki;
  const auto context = pki.context();
  TlsPeer peer({.identity = pki.good});
  Heard client;
  client.connect(*context, peer);
  const size_t bytes = peer.raw_bytes;
  const size_t writes = peer.raw_writes;
  const std::vector<Slice> parts(100, Slice::copy_of("0123456789"));
  client.stream->write(parts);
  CHECK(peer.raw_writes == writes + 1);
  CHECK(peer.raw_bytes - bytes < 1000 + 64);
  client.stream->write({});
  CHECK(peer.raw_writes == writes + 1);
  peer.pump();
  CHECK(peer.got.size() == 1000);
}

TEST_CASE("close_notify is the end; without it, what ends is broken") {
  Pki pki;
  const auto context = pki.context();
  for (int which = 0; which < 3; ++which) {
    CAPTURE(which);
    TlsPeer peer({.identity = pki.good});
    Heard client;
    client.connect(*context, peer);
    peer.write("the last");
    if (which == 0) peer.close_notify();
    peer.pump();
    if (which == 2) peer.reset();
    if (which != 2) peer.cut();
    if (which == 1) peer.cut();
    CHECK(client.bytes == "the last");
    CHECK(client.ends == (which == 0 ? 1 : 0));
    CHECK(client.breaks == (which == 0 ? 0 : 1));
    if (which != 0) {
      const size_t writes = peer.raw_writes;
      client.write("nobody");
      client.stream->shut_down();
      CHECK(peer.raw_writes == writes);
    }
  }
}

TEST_CASE("shut_down sends close_notify, then FIN, and reading goes on") {
  Pki pki;
  const auto context = pki.context();
  TlsPeer peer({.identity = pki.good});
  Heard client;
  client.connect(*context, peer);
  client.write("all");
  client.stream->shut_down();
  client.write("too late");
  CHECK(peer.finished);
  peer.pump();
  CHECK(peer.got == "all");
  CHECK(peer.closed);
  peer.write("still");
  peer.pump();
  CHECK(client.bytes == "still");
}

TEST_CASE("what is no TLS, ends or breaks during the handshake fails it, once") {
  Pki pki;
  const auto context = pki.context();
  TlsPeer peer({.identity = pki.good});
  for (int which = 0; which < 2; ++which) {
    Heard client;
    int reports = 0;
    std::string error;
    auto pending = context->connect(peer.accept(), "model.example", [&](auto made) {
      ++reports;
      error = made.error().message;
    });
    if (which == 0) peer.cut();
    if (which == 1) peer.reset();
    CHECK(reports == 1);
    CHECK(has(error, which == 0 ? "closed during" : "broke during"));
    pending.reset();
    CHECK(!peer.raw_open);
  }
}

TEST_CASE("a handshake that is cancelled, and a stream destroyed while it calls, leave nothing") {
  Pki pki;
  const auto context = pki.context();
  TlsPeer peer({.identity = pki.good});
  auto pending = context->connect(peer.accept(), "model.example", [](auto) { FAIL("cancelled"); });
  pending.reset();
  CHECK(!peer.raw_open);
  for (int which = 0; which < 3; ++which) {
    CAPTURE(which);
    Heard client;
    client.connect(*context, peer);
    client.on_something = [&] { client.stream.reset(); };
    if (which == 0) peer.write("x");
    if (which == 1) peer.close_notify();
    peer.pump();
    if (which == 2) peer.cut();
    CHECK(client.calls + static_cast<size_t>(client.ends + client.breaks) == 1);
    CHECK(!peer.raw_open);
  }
}

TEST_CASE("files that cannot be used are named, with the reason") {
  Pki pki;
  const Identity other = make_identity({.name = "other"});
  const std::string certificate = pki.file(other.certificate);
  const std::string junk = pki.file("junk");
  const std::vector<std::pair<TlsOptions, std::string>> cases = {
      {{.ca_file = "/nowhere/ca.pem"}, "authorities in '/nowhere/ca.pem': No such file"},
      {{.ca_file = junk}, "authorities in '" + junk + "'"},
      {{.certificate_file = junk}, "certificate in '" + junk + "'"},
      {{.certificate_file = certificate, .key_file = junk}, "key in '" + junk + "'"},
      {{.certificate_file = certificate, .key_file = pki.file(pki.good.key)},
       "key values mismatch"},
      {{.key_file = junk}, "no certificate"}};
  for (const auto& [options, message] : cases) {
    CAPTURE(message);
    const auto made = TlsContext::make(options);
    REQUIRE(!made.ok());
    CHECK(made.error().code == Code::kInvalid);
    CAPTURE(made.error().message);
    CHECK(has(made.error().message, message));
  }
}

}  // namespace
}  // namespace sluice
