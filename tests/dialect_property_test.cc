// SPDX-License-Identifier: Apache-2.0
// Random requests of one dialect, their rows spread over calls of another at random, are answered
// byte for byte as if each had been asked alone. The upstream is written here, in plain JSON.
#include <map>

#include "backends/dialect_cohere.h"
#include "backends/dialect_openai.h"
#include "backends/dialect_tei.h"
#include "backends/vector_text.h"
#include "base/json.h"
#include "base/prng.h"
#include "tests/codec_harness.h"

namespace sluice {
namespace {

std::vector<std::string> items_of(JsonView array) {
  std::vector<std::string> items;
  array.for_each_item([&](JsonView item) {
    items.emplace_back(item.raw());
    return true;
  });
  return items;
}

// A number that depends on all of `text`, and has a short decimal.
float number_of(std::string_view text, size_t salt) {
  uint32_t hash = static_cast<uint32_t>(salt) * 77 + 1;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619U;
  return static_cast<float>(static_cast<int32_t>(hash % 20001) - 10000) / 4096.0F;
}

std::string vector_of(const std::string& item, const std::string& salt, bool base64) {
  const float numbers[] = {number_of(item + salt, 1), number_of(item, 2), number_of(item, 3)};
  std::string text;
  codec::append_vector(text, numbers, {.base64 = base64});
  return text;
}

std::string decimal(const std::string& item) {
  std::string text;
  append_json_number(text, number_of(item, 4));
  return text;
}

std::string joined(Prng& prng, std::vector<std::string> parts, bool shuffle) {
  for (size_t i = parts.size(); shuffle && i > 1; --i)
    std::swap(parts[i - 1], parts[prng.next() % i]);
  std::string text;
  for (const std::string& part : parts) text += (text.empty() ? "" : ", ") + part;
  return text;
}

// The answer of a server to `call`; where items have an index they come in any order.
std::string answer_of(Prng& prng, std::string_view codec_name, const std::string& call) {
  const Slice body = Slice::copy_of(call);
  const JsonView root = parse_json(body).value();
  std::vector<std::string> parts;
  if (codec_name == "openai.embeddings") {
    const auto format = root.member("encoding_format");
    const auto dimensions = root.member("dimensions");
    const bool base64 = format && format->text() == "base64";
    for (const std::string& item : items_of(*root.member("input")))
      parts.push_back(R"({"index":)" + std::to_string(parts.size()) + R"(,"embedding":)" +
                      vector_of(item, dimensions ? std::string(dimensions->raw()) : "", base64) +
                      "}");
    return R"({"data":[)" + joined(prng, parts, true) + R"(],"model":"served"})";
  }
  if (codec_name == "tei.embed") {
    for (const std::string& item : items_of(*root.member("inputs")))
      parts.push_back(vector_of(item, "", false));
    return "[" + joined(prng, parts, false) + "]";
  }
  if (codec_name == "tei.predict") {
    for (const std::string& item : items_of(*root.member("inputs")))
      parts.push_back(R"([{"score":)" + decimal(item) + R"(,"label":"x"}])");
    return "[" + joined(prng, parts, false) + "]";
  }
  const bool tei = codec_name == "tei.rerank";
  for (const std::string& item : items_of(*root.member(tei ? "texts" : "documents"))) {
    parts.push_back(R"({"index":)" + std::to_string(parts.size()) +
                    (tei ? R"(,"score":)" : R"(,"relevance_score":)") +
                    decimal(item + std::string(root.member("query")->raw())) + "}");
  }
  const std::string list = "[" + joined(prng, parts, true) + "]";
  return tei ? list : R"({"results":)" + list + "}";
}

std::string text(Prng& prng) {
  static const char* const kParts[] = {"a", "\\\"", "\\u00e9", "\xc3\xa9", " ", "]", "{", ",", "b"};
  std::string out = "\"";
  for (int64_t i = prng.between(0, 12); i > 0; --i) out += kParts[prng.next() % std::size(kParts)];
  if (prng.chance(0.1)) out.append(3000, 'x');
  return out + '"';
}

std::string texts(Prng& prng) {
  std::string list;
  for (int64_t i = prng.between(1, 6); i > 0; --i) list += (list.empty() ? "" : ",") + text(prng);
  return "[" + list + "]";
}

std::string request_of(Prng& prng, std::string_view codec_name) {
  if (codec_name == "openai.embeddings") {
    std::string body = R"({"model":"m","input":)" + (prng.chance(0.3) ? text(prng) : texts(prng));
    if (prng.chance(0.3)) body += R"(,"dimensions":3)";
    if (prng.chance(0.6))
      body += prng.chance(0.5) ? R"(,"encoding_format":"base64")" : R"(,"encoding_format":"float")";
    return body + "}";
  }
  if (codec_name == "tei.embed")
    return R"({"inputs":)" + (prng.chance(0.3) ? text(prng) : texts(prng)) + "}";
  if (codec_name == "tei.predict") {
    if (prng.chance(0.3)) return R"({"inputs":)" + text(prng) + "}";
    return R"({"inputs":[[)" + text(prng) + "],[" + text(prng) + "," + text(prng) + "]]}";
  }
  const bool tei = codec_name == "tei.rerank";
  std::string body = prng.chance(0.5) ? R"({"query":"q",)" : R"({"query":"r",)";
  body += (tei ? R"("texts":)" : R"("documents":)") + texts(prng);
  if (prng.chance(0.5)) body += tei ? R"(,"return_text":true)" : R"(,"return_documents":true)";
  if (!tei && prng.chance(0.5)) body += R"(,"top_n":2)";
  return body + "}";
}

// Outputs of `rows`, cut into calls of at most `call_max` rows.
std::vector<Output> run(Prng& prng, const Codec& upstream, const CallKey& key,
                        std::span<const CallRow> rows, int64_t call_max) {
  std::vector<Output> all;
  while (!rows.empty()) {
    const auto take = std::min<size_t>(rows.size(), static_cast<size_t>(prng.between(1, call_max)));
    const auto call = rows.first(take);
    const std::string body = call_text(upstream, key, call);
    for (Output& output : outputs(upstream, key, call, answer_of(prng, upstream.name(), body)))
      all.push_back(std::move(output));
    rows = rows.subspan(take);
  }
  return all;
}

void check_merging(uint64_t seed, const Codec& client, std::string_view target,
                   const Codec& upstream) {
  Prng prng(seed);
  std::vector<Asked> all;
  for (int i = 0; i < 12; ++i)
    all.push_back(asked(client, target, request_of(prng, client.name())));
  std::map<std::string, std::vector<size_t>> by_key;
  for (size_t i = 0; i < all.size(); ++i) by_key[all[i].key.encode()].push_back(i);
  for (const auto& [text, members] : by_key) {
    const CallKey key = CallKey::decode(text).value();
    std::vector<CallRow> rows;
    for (const size_t i : members) {
      for (const Row& row : all[i].rows)
        rows.push_back({i, static_cast<uint32_t>(rows.size()), {}, row.wire, row.flags});
    }
    const std::vector<Output> merged = run(prng, upstream, key, rows, 9);
    size_t next = 0;
    for (const size_t i : members) {
      const std::vector<CallRow> own = call_rows(all[i]);
      const std::vector<Output> alone = run(prng, upstream, key, own, 1'000'000);
      const std::span<const Output> part = std::span(merged).subspan(next, own.size());
      next += own.size();
      CHECK(response(client, all[i], part) == response(client, all[i], alone));
    }
  }
}

TEST_CASE("whoever shares calls is answered as if alone, byte for byte") {
  const Codec& openai = openai::embeddings_codec();
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    CAPTURE(seed);
    check_merging(seed, openai, "/v1/embeddings", openai);
    check_merging(seed, openai, "/v1/embeddings", tei::embed_codec());
    check_merging(seed, tei::embed_codec(), "/embed", openai);
    check_merging(seed, tei::embed_codec(), "/embed", tei::embed_codec());
    check_merging(seed, tei::rerank_codec(), "/rerank", tei::rerank_codec());
    check_merging(seed, tei::rerank_codec(), "/rerank", cohere::rerank_codec());
    check_merging(seed, cohere::rerank_codec(), "/v1/rerank", cohere::rerank_codec());
    check_merging(seed, cohere::rerank_codec(), "/v2/rerank", tei::rerank_codec());
    check_merging(seed, tei::predict_codec(), "/predict", tei::predict_codec());
  }
}

}  // namespace
}  // namespace sluice
