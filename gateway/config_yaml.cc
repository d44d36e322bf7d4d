// SPDX-License-Identifier: Apache-2.0
// The only user of yaml-cpp, which reports by throwing: load_config() catches all of it. The reader
// walks the keys it knows, never the document, so neither nesting nor anchors that contain
// themselves can lead it astray.

#include "gateway/config_yaml.h"

#include <yaml-cpp/depthguard.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <functional>
#include <set>
#include <sstream>

#include "backends/utf8.h"
#include "gateway/settings.h"
#include "gateway/units.h"

namespace sluice {

namespace {

bool is_name_byte(char c) {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
}

// Reads one document into a LoadedConfig.
class Reader {
 public:
  explicit Reader(const Environment& environment) : environment_(environment) {}

  LoadedConfig read(const YAML::Node& root) {
    if (!root.IsNull()) read_process(root);
    return std::move(loaded_);
  }

 private:
  // What a key of a section is when it is no setting: reads it and says so.
  using OtherKey =
      std::function<bool(const std::string& key, const std::string& path, const YAML::Node& value)>;

  static ConfigPlace place_of(const YAML::Node& node) {
    const YAML::Mark mark = node.Mark();
    return mark.is_null() ? ConfigPlace{} : ConfigPlace{mark.line + 1, mark.column + 1};
  }

  void problem(const std::string& path, ConfigPlace place, std::string message) {
    if (loaded_.problems.size() == kConfigProblemsMax) return;
    loaded_.problems.push_back({path, std::move(message), place.line, place.column});
  }

  // The values of `node` with their keys, or a problem if it is no mapping.
  template <typename Visit>
  void each_key(const YAML::Node& node, const std::string& path, const Visit& visit) {
    if (!node.IsMap()) {
      problem(path, place_of(node), "must be a section of keys and values");
      return;
    }
    std::set<std::string> seen;
    for (const auto& entry : node) {
      const YAML::Node& key = entry.first;
      const YAML::Node& value = entry.second;
      const std::string prefix = path.empty() ? "" : path + ".";
      if (!key.IsScalar()) {
        problem(path, place_of(key), "has a key that is not a word");
      } else if (!seen.insert(key.Scalar()).second) {
        problem(prefix + shown_key(key.Scalar()), place_of(key), "is given twice");
      } else {
        visit(key, value, prefix + shown_key(key.Scalar()));
      }
    }
  }

  // A key as messages show it; what is no word is quoted.
  static std::string shown_key(const std::string& key) {
    const bool word = !key.empty() && key.size() <= 60 &&
                      std::all_of(key.begin(), key.end(),
                                  [](char c) { return is_name_byte(c) || c == '-' || c == '.'; });
    return word ? key : quote(key);
  }

  template <typename T>
  void read_section(const YAML::Node& node, const std::string& path, const std::string& section,
                    std::span<const Setting<T>> settings, T& target,
                    std::span<const std::string_view> other_names, const OtherKey& other) {
    each_key(
        node, path,
        [&](const YAML::Node& key, const YAML::Node& value, const std::string& key_path) {
          const std::string full = section + key.Scalar();
          // "a.b" as one word is not the key b of the section a.
          const bool dotted = key.Scalar().find('.') != std::string::npos;
          loaded_.places[key_path] = place_of(key);
          const auto setting = std::find_if(settings.begin(), settings.end(),
                                            [&](const Setting<T>& s) { return s.key == full; });
          if (!dotted && setting != settings.end()) {
            read_value(value, key_path,
                       [&](std::string_view text) { return set_value(*setting, target, text); });
          } else if (!dotted && is_section(full, settings)) {
            if (value.IsNull()) return;
            read_section(value, key_path, full + ".", settings, target, {}, {});
          } else if (!other || !other(key.Scalar(), key_path, value)) {
            problem(key_path, place_of(key), unknown(key.Scalar(), section, settings, other_names));
          }
        });
  }

  template <typename T>
  static bool is_section(const std::string& full, std::span<const Setting<T>> settings) {
    return std::any_of(settings.begin(), settings.end(),
                       [&](const Setting<T>& s) { return s.key.starts_with(full + "."); });
  }

  // "is not a known key; did you mean ...": first among the keys of this section, then for a key
  // that has its home in another one.
  template <typename T>
  static std::string unknown(const std::string& key, const std::string& section,
                             std::span<const Setting<T>> settings,
                             std::span<const std::string_view> other_names) {
    std::vector<std::string_view> here(other_names.begin(), other_names.end());
    std::vector<std::string_view> elsewhere;
    for (const Setting<T>& s : settings) {
      elsewhere.push_back(s.key);
      if (!s.key.starts_with(section)) continue;
      std::string_view rest = s.key.substr(section.size());
      rest = rest.substr(0, rest.find('.'));
      if (std::find(here.begin(), here.end(), rest) == here.end()) here.push_back(rest);
    }
    if (const auto near = nearest(key, here)) {
      return "is not a known key; did you mean " + std::string(*near) + "?";
    }
    for (const std::string_view full : elsewhere) {
      const std::string_view last = full.substr(full.rfind('.') + 1);
      if (key == last) {
        return "is not a known key here; did you mean " + std::string(full) + "?";
      }
    }
    std::string message = "is not a known key; known here:";
    for (const std::string_view name : here) message += " " + std::string(name);
    return message;
  }

  // Gives the text of `value`, variables replaced, to `set`. A message quotes what the file holds,
  // not what the variables stand for.
  template <typename Set>
  void read_value(const YAML::Node& value, const std::string& path, const Set& set) {
    if (value.IsNull()) {
      problem(path, loaded_.places[path], "has no value");
      return;
    }
    const ConfigPlace place = place_of(value);
    if (place.line > 0) loaded_.places[path] = place;
    if (!value.IsScalar()) {
      problem(path, place, "must be a single value");
      return;
    }
    const Result<std::string> text = expand_variables(value.Scalar(), environment_);
    if (!text.ok()) {
      problem(path, place, text.error().message);
      return;
    }
    const Result<Done> done = set(std::string_view(text.value()));
    if (!done.ok()) problem(path, place, done.error().message + ", not " + quote(value.Scalar()));
  }

  // Calls `visit` with each element of a list and its path.
  template <typename Visit>
  void each_element(const YAML::Node& list, const std::string& path, size_t count_max,
                    const Visit& visit) {
    if (list.IsNull()) return;
    if (!list.IsSequence()) {
      problem(path, place_of(list), "must be a list");
      return;
    }
    if (list.size() > count_max) {
      problem(path, place_of(list), "must have at most " + std::to_string(count_max) + " elements");
      return;
    }
    for (size_t i = 0; i < list.size(); ++i) {
      const std::string element = path + "[" + std::to_string(i) + "]";
      const YAML::Node node = list[i];
      loaded_.places[element] = place_of(node);
      visit(node, element);
    }
  }

  void read_process(const YAML::Node& root) {
    constexpr std::array<std::string_view, 2> kOthers = {"models", "passthrough"};
    read_section<Config>(
        root, "", "", process_settings(), loaded_.config, kOthers,
        [this](const std::string& key, const std::string& path, const YAML::Node& value) {
          if (key == "models") {
            each_element(value, path, kModelsMax, [&](const YAML::Node& node, const auto& element) {
              read_model(node, element);
            });
            return true;
          }
          if (key == "passthrough") {
            BackendConfig& backend = loaded_.config.passthrough.emplace();
            backend.kind = BackendConfig::Kind::kHttp;
            read_backend(value, path, backend);
            return true;
          }
          if (key != "jobs") return false;
          problem(path, loaded_.places[path], "is not available in this version");
          return true;
        });
  }

  void read_model(const YAML::Node& node, const std::string& path) {
    constexpr std::array<std::string_view, 2> kOthers = {"aliases", "backends"};
    ModelConfig& model = loaded_.config.models.emplace_back();
    read_section<ModelConfig>(
        node, path, "", model_settings(), model, kOthers,
        [&](const std::string& key, const std::string& key_path, const YAML::Node& value) {
          if (key == "aliases") {
            each_element(value, key_path, kAliasesMax,
                         [&](const YAML::Node& alias, const auto& element) {
                           read_alias(alias, element, model);
                         });
          } else if (key == "backends") {
            each_element(value, key_path, kBackendsMax,
                         [&](const YAML::Node& backend, const auto& element) {
                           read_backend(backend, element, model.backends.emplace_back());
                         });
          } else {
            return false;
          }
          return true;
        });
  }

  void read_alias(const YAML::Node& node, const std::string& path, ModelConfig& model) {
    read_value(node, path, [&](std::string_view text) -> Result<Done> {
      if (!is_model_name(text)) {
        return Error{Code::kInvalid,
                     "must be 1 to 200 visible ASCII characters without quotes and backslashes"};
      }
      model.aliases.emplace_back(text);
      return Done{};
    });
  }

  void read_backend(const YAML::Node& node, const std::string& path, BackendConfig& backend) {
    constexpr std::array<std::string_view, 1> kOthers = {"headers"};
    // The keys of another kind of backend would be reported one by one, beside the point.
    if (node.IsMap() && node["kind"] && node["kind"].IsScalar()) {
      const std::span<const Setting<BackendConfig>> settings = backend_settings();
      const auto kind = std::find_if(settings.begin(), settings.end(),
                                     [](const auto& s) { return s.key == "kind"; });
      const size_t before = loaded_.problems.size();
      read_value(node["kind"], path + ".kind",
                 [&](std::string_view text) { return set_value(*kind, backend, text); });
      if (loaded_.problems.size() > before) return;
    }
    read_section<BackendConfig>(
        node, path, "", backend_settings(), backend, kOthers,
        [&](const std::string& key, const std::string& key_path, const YAML::Node& value) {
          if (key != "headers") return false;
          read_headers(value, key_path, backend.upstream);
          return true;
        });
  }

  // Header names are keys of their own choice, so no table has them.
  void read_headers(const YAML::Node& node, const std::string& path, UpstreamConfig& upstream) {
    if (node.IsNull()) return;
    each_key(node, path,
             [&](const YAML::Node& key, const YAML::Node& value, const std::string& key_path) {
               loaded_.places[key_path] = place_of(key);
               if (upstream.headers.size() == kHeadersMax)
                 return problem(key_path, place_of(key), "is one header too many");
               read_value(value, key_path, [&](std::string_view text) -> Result<Done> {
                 if (auto error = check_own_header(key.Scalar(), text)) return std::move(*error);
                 upstream.headers.emplace_back(key.Scalar(), text);
                 return Done{};
               });
             });
  }

  LoadedConfig loaded_;
  const Environment& environment_;
};

LoadedConfig failed(std::string message, ConfigPlace place = {}) {
  LoadedConfig loaded;
  loaded.problems.push_back({"", std::move(message), place.line, place.column});
  return loaded;
}

// The first place with something that YAML does not allow in a text: bytes that are no UTF-8, or
// control characters. yaml-cpp must not see them: it takes NULs for another encoding and a 0x04 for
// the end of its input, and then may never return.
std::optional<ConfigPlace> first_bad_character(std::string_view text) {
  ConfigPlace place{1, 1};
  const char* at = text.data();
  const char* const end = at + text.size();
  while (at < end) {
    const char32_t c = decode_utf8(at, end);
    const bool control = (c < 0x20 && c != '\t' && c != '\n' && c != '\r') || c == 0x7f;
    if (control || c == kReplacementCharacter) return place;
    place = c == '\n' ? ConfigPlace{place.line + 1, 1} : ConfigPlace{place.line, place.column + 1};
  }
  return std::nullopt;
}

// Notes where documents begin and ignores what they hold.
struct DocumentPlaces final : YAML::EventHandler {
  std::vector<YAML::Mark> starts;
  void OnDocumentStart(const YAML::Mark& mark) override { starts.push_back(mark); }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark&, YAML::anchor_t) override {}
  void OnAlias(const YAML::Mark&, YAML::anchor_t) override {}
  void OnScalar(const YAML::Mark&, const std::string&, YAML::anchor_t,
                const std::string&) override {}
  void OnSequenceStart(const YAML::Mark&, const std::string&, YAML::anchor_t,
                       YAML::EmitterStyle::value) override {}
  void OnSequenceEnd() override {}
  void OnMapStart(const YAML::Mark&, const std::string&, YAML::anchor_t,
                  YAML::EmitterStyle::value) override {}
  void OnMapEnd() override {}
};

// Where a second document begins, or what yaml-cpp takes for one. YAML::LoadAll() would ask for the
// next document until there is none, which for a text that begins with a comma is never.
std::optional<ConfigPlace> second_document(const std::string& text) {
  std::istringstream stream(text);
  YAML::Parser parser(stream);
  DocumentPlaces places;
  while (places.starts.size() < 2 && parser.HandleNextDocument(places)) {
  }
  if (places.starts.size() < 2) return std::nullopt;
  return ConfigPlace{places.starts[1].line + 1, places.starts[1].column + 1};
}

}  // namespace

LoadedConfig load_config(std::string_view text, const Environment& environment) {
  if (text.size() > kConfigBytesMax) {
    return failed("is larger than " + format_bytes(kConfigBytesMax));
  }
  if (const auto place = first_bad_character(text)) {
    return failed("holds a control character or bytes that are not UTF-8", *place);
  }
  try {
    const std::string copy(text);
    if (const auto place = second_document(copy)) {
      return failed("must be one YAML document, but here begins another", *place);
    }
    return Reader(environment).read(YAML::Load(copy));
  } catch (const YAML::DeepRecursion&) {
    return failed("nests too deep");
  } catch (const YAML::Exception& e) {
    const bool placed = !e.mark.is_null();
    return failed("is not valid YAML: " + e.msg,
                  placed ? ConfigPlace{e.mark.line + 1, e.mark.column + 1} : ConfigPlace{});
  } catch (const std::exception& e) {
    return failed(std::string("is not valid YAML: ") + e.what());
  }
}

Result<std::string> read_config_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text(kConfigBytesMax + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (file.bad() || (file.fail() && !file.eof())) {
    return Error{Code::kNotFound, "cannot read " + path};
  }
  text.resize(static_cast<size_t>(file.gcount()));
  if (text.size() > kConfigBytesMax) {
    return Error{Code::kTooLarge, path + ": is larger than " + format_bytes(kConfigBytesMax)};
  }
  return text;
}

void place_problems(const LoadedConfig& loaded, std::vector<ConfigProblem>& problems) {
  for (ConfigProblem& problem : problems) {
    std::string path = problem.path;
    while (problem.line == 0 && !path.empty()) {
      if (const auto found = loaded.places.find(path); found != loaded.places.end()) {
        problem.line = found->second.line;
        problem.column = found->second.column;
        break;
      }
      const size_t cut = path.find_last_of(".[");
      path.resize(cut == std::string::npos ? 0 : cut);
    }
  }
}

}  // namespace sluice
