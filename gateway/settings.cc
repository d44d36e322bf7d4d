// SPDX-License-Identifier: Apache-2.0
// What the kinds of fields have in common: reading, showing and describing them.

#include "gateway/settings.h"

#include "gateway/units.h"

namespace sluice {

namespace {

template <typename... Bodies>
struct Overloaded : Bodies... {
  using Bodies::operator()...;
};
template <typename... Bodies>
Overloaded(Bodies...) -> Overloaded<Bodies...>;

// Puts a value that was read into its field if it is within the field's limits.
template <typename Field, typename T, typename Value>
Result<Done> put(const Field& field, T& target, const Result<Value>& value,
                 std::string (*format)(Value)) {
  if (!value.ok()) return value.error();
  if (value.value() < field.min || value.value() > field.max) {
    return Error{Code::kInvalid, "must be " + format(field.min) + " to " + format(field.max)};
  }
  field.at(target) = value.value();
  return Done{};
}

std::string format_count(uint64_t value) { return std::to_string(value); }

template <typename T>
void append_documents(std::vector<KeyDocument>& documents, std::string_view prefix,
                      std::span<const Setting<T>> settings) {
  for (const Setting<T>& setting : settings) {
    documents.push_back({.key = std::string(prefix) + std::string(setting.key),
                         .meaning = std::string(setting.meaning),
                         .fallback = show_value(setting, T{}),
                         .limits = limits_text(setting),
                         .flag = std::string(setting.flag)});
  }
}

std::string up_to(size_t count) { return "at most " + std::to_string(count); }

}  // namespace

template <typename T>
Result<Done> set_value(const Setting<T>& setting, T& target, std::string_view text) {
  return std::visit(
      Overloaded{
          [&](const CountField<T>& f) { return put(f, target, parse_count(text), format_count); },
          [&](const BytesField<T>& f) { return put(f, target, parse_bytes(text), format_bytes); },
          [&](const DurationField<T>& f) {
            return put(f, target, parse_duration(text), format_duration);
          },
          [&](const SwitchField<T>& f) -> Result<Done> {
            const Result<bool> value = parse_switch(text);
            if (!value.ok()) return value.error();
            f.at(target) = value.value();
            return Done{};
          },
          [&](const TextField<T>& f) { return f.set(target, text); },
      },
      setting.field);
}

template <typename T>
std::string show_value(const Setting<T>& setting, const T& target) {
  T copy = target;  // the accessors hand out references to write to
  return std::visit(
      Overloaded{
          [&](const CountField<T>& f) { return format_count(f.at(copy)); },
          [&](const BytesField<T>& f) { return format_bytes(f.at(copy)); },
          [&](const DurationField<T>& f) { return format_duration(f.at(copy)); },
          [&](const SwitchField<T>& f) { return std::string(f.at(copy) ? "on" : "off"); },
          [&](const TextField<T>& f) { return f.show(copy); },
      },
      setting.field);
}

template <typename T>
std::string limits_text(const Setting<T>& setting) {
  return std::visit(
      Overloaded{
          [](const CountField<T>& f) { return format_count(f.min) + " to " + format_count(f.max); },
          [](const BytesField<T>& f) { return format_bytes(f.min) + " to " + format_bytes(f.max); },
          [](const DurationField<T>& f) {
            return format_duration(f.min) + " to " + format_duration(f.max);
          },
          [](const SwitchField<T>&) { return std::string("on or off"); },
          [](const TextField<T>& f) { return std::string(f.accepts); },
      },
      setting.field);
}

std::vector<KeyDocument> documented_keys() {
  std::vector<KeyDocument> documents;
  append_documents(documents, "", process_settings());
  documents.push_back(
      {"models", "the models served; clients name them in `model`", "", up_to(kModelsMax), ""});
  append_documents(documents, "models[].", model_settings());
  documents.push_back({"models[].aliases", "other names that clients may use for the model", "",
                       up_to(kAliasesMax), ""});
  documents.push_back({"models[].backends", "where the model's batches run; at least one", "",
                       up_to(kBackendsMax), ""});
  append_documents(documents, "models[].backends[].", backend_settings());
  documents.push_back(
      {"models[].backends[].headers",
       "headers set on every request to the endpoint, by name; a credential here is "
       "used instead of the clients' own",
       "", up_to(kHeadersMax), ""});
  documents.push_back({"passthrough",
                       "where everything goes that no model answers: the keys of an http backend",
                       "", "a backend", ""});
  return documents;
}

template Result<Done> set_value(const Setting<Config>&, Config&, std::string_view);
template Result<Done> set_value(const Setting<ModelConfig>&, ModelConfig&, std::string_view);
template Result<Done> set_value(const Setting<BackendConfig>&, BackendConfig&, std::string_view);
template std::string show_value(const Setting<Config>&, const Config&);
template std::string show_value(const Setting<ModelConfig>&, const ModelConfig&);
template std::string show_value(const Setting<BackendConfig>&, const BackendConfig&);
template std::string limits_text(const Setting<Config>&);
template std::string limits_text(const Setting<ModelConfig>&);
template std::string limits_text(const Setting<BackendConfig>&);

}  // namespace sluice
