// SPDX-License-Identifier: Apache-2.0
#include "backends/dialect_json.h"

#include <algorithm>
#include <utility>

#include "backends/codec_common.h"
#include "backends/codec_predict.h"

namespace sluice {
namespace {

using codec::invalid;

// Parameters of a key: the body with its items cut out, and where that was, since services with
// other places must not be sent it.
constexpr std::string_view kRest = "body";
constexpr std::string_view kPlace = "items";

// The settings in the form that codecs use.
struct Places {
  std::vector<std::string> paths;
  JsonPointer items;
  JsonPointer answers;
  bool single = false;
};

std::string quoted(std::string_view text) {
  std::string out;
  append_json_string(out, text);
  return out;
}

class ItemsCodec final : public Codec {
 public:
  // `places` outlives it.
  ItemsCodec(Operation operation, std::string_view name, const Places& places)
      : operation_(operation), name_(name), places_(places) {}

  Operation operation() const override { return operation_; }
  std::string_view name() const override { return name_; }
  Result<Asked> read_request(const RequestHead& head, const Slice& body) const override;
  Result<Body> write_response(const Asked& asked, const Answer& answer) const override {
    return codec::write_items(mark(), places_.answers, asked.shape.single, answer.outputs);
  }
  Result<CallRequest> write_call(const CallKey& key, std::span<const CallRow> rows) const override;
  Result<std::vector<Outcome>> read_call(const CallKey&, std::span<const CallRow> rows,
                                         const CallAnswer& answer) const override {
    return codec::read_items(operation_, mark(), places_.answers, rows.size(), answer.body);
  }

 private:
  // Whose envelope it is: services with other places have other ones.
  std::string mark() const { return std::string(name_) + " " + places_.answers.text(); }
  std::string_view items_name() const {
    return places_.items.whole() ? kRest : std::string_view(places_.items.text());
  }
  Result<Done> write_rest(const CallKey& key, std::string& front, std::string& back) const;

  Operation operation_;
  std::string_view name_;
  const Places& places_;
};

Result<Asked> ItemsCodec::read_request(const RequestHead& head, const Slice& body) const {
  const Result<JsonView> root = parse_json(body);
  if (!root.ok()) return root.error();
  const std::optional<JsonView> items = places_.items.find(root.value());
  const std::string name(items_name());
  if (!items) return invalid(name, "You must provide items at '" + name + "'.");
  Asked asked;
  asked.key.operation = operation_;
  asked.key.target = head.target;
  asked.shape.single = places_.single;
  if (!places_.items.whole()) {
    asked.key.codec = name_;
    asked.key.params.emplace_back(kRest, without(root.value(), *items));
    asked.key.params.emplace_back(kPlace, quoted(places_.items.text()));
  }
  if (places_.single) {
    asked.rows.push_back({.payload = {}, .wire = codec::part_of(body, *items)});
    return asked;
  }
  if (!items->is(JsonType::kArray)) return codec::wrong_type(name, name, "an array", *items);
  const size_t count = items->count();
  asked.pass_through = count == 0 || count > codec::kItemsMax;
  if (!asked.pass_through) asked.rows = codec::rows_of(body, *items);
  return asked;
}

// What stands around the items in a call.
Result<Done> ItemsCodec::write_rest(const CallKey& key, std::string& front,
                                    std::string& back) const {
  const auto rest = key.param(kRest);
  if (key.codec != name_ || !rest) {
    std::string none;
    front = places_.items.front();
    back = places_.items.back();
    return codec::say_params(key, *this, {}, codec::defaults(operation_), "", none);
  }
  if (key.param(kPlace) != quoted(places_.items.text()))
    return invalid(kPlace, "What serves this model expects its items at another place.");
  const Slice text = Slice::copy_of(*rest);
  const Result<JsonView> root = parse_json(text);
  const std::optional<JsonView> hole = root.ok() ? places_.items.find(root.value()) : std::nullopt;
  if (!hole) return Error{.code = Code::kInternal, .message = "The key of a call is broken."};
  const std::string_view all = root.value().raw();
  const auto begin = static_cast<size_t>(hole->raw().data() - all.data());
  front = all.substr(0, begin);
  back = all.substr(begin + hole->raw().size());
  return Done{};
}

Result<CallRequest> ItemsCodec::write_call(const CallKey& key,
                                           std::span<const CallRow> rows) const {
  std::string front, back;
  const Result<Done> written = write_rest(key, front, back);
  if (!written.ok()) return written.error();
  codec::BodyWriter out;
  out.append(front);
  codec::append_rows(out, rows);
  out.append(back);
  const std::vector<std::string_view> paths(places_.paths.begin(), places_.paths.end());
  return CallRequest{.target = codec::target_of(key, paths), .body = out.take()};
}

class JsonDialect final : public Dialect {
 public:
  explicit JsonDialect(Places places) : places_(std::move(places)) {
    for (const std::string& path : places_.paths) routes_.push_back({"POST", path, &predict_});
  }
  std::string_view name() const override { return "json"; }
  std::span<const CodecRoute> routes() const override { return routes_; }
  const Codec* upstream_codec(Operation operation) const override {
    for (const ItemsCodec* codec : {&predict_, &embed_, &classify_}) {
      if (codec->operation() == operation) return codec;
    }
    return nullptr;
  }
  std::string write_error(const Error& error, std::string_view) const override {
    return codec::error_text(error);
  }

 private:
  const Places places_;
  ItemsCodec predict_{Operation::kPredict, "json.predict", places_};
  ItemsCodec embed_{Operation::kEmbed, "json.embed", places_};
  ItemsCodec classify_{Operation::kClassify, "json.classify", places_};
  std::vector<CodecRoute> routes_;
};

}  // namespace

std::optional<Error> check_json_options(const JsonDialectOptions& options) {
  if (options.paths.empty()) return invalid("paths", "'paths' must not be empty.");
  for (const std::string& path : options.paths) {
    if (!path.starts_with('/') || path.find_first_of("?#{}") != path.npos)
      return invalid("paths", "'paths' must hold paths that begin with '/', without query, not '" +
                                  path.substr(0, 100) + "'.");
    if (std::ranges::count(options.paths, path) > 1)
      return invalid("paths", "'paths' holds '" + path.substr(0, 100) + "' twice.");
  }
  for (const auto& [name, text] :
       {std::pair{"items", &options.items}, {"answers", &options.answers}}) {
    const Result<JsonPointer> pointer = JsonPointer::parse(*text);
    if (!pointer.ok())
      return invalid(name, "'" + std::string(name) + "': " + pointer.error().message);
  }
  return std::nullopt;
}

std::unique_ptr<Dialect> make_json_dialect(JsonDialectOptions options) {
  ASSERT(!check_json_options(options));
  Places places{.paths = std::move(options.paths),
                .items = JsonPointer::parse(options.items).value(),
                .answers = JsonPointer::parse(options.answers).value(),
                .single = options.single};
  return std::make_unique<JsonDialect>(std::move(places));
}

}  // namespace sluice
