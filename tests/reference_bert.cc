// SPDX-License-Identifier: Apache-2.0
#include "tests/reference_bert.h"

#include <bit>
#include <cmath>
#include <utility>

#include "backends/engine.h"
#include "base/prng.h"

namespace sluice {

ReferenceBert::ReferenceBert(Options options) : options_(std::move(options)) {
  const BertConfig& c = options_.config;
  add("embeddings.word_embeddings.weight", {c.vocabulary, c.hidden}, 0.0, 1.0);
  add("embeddings.position_embeddings.weight", {c.positions, c.hidden}, 0.0, 0.5);
  add("embeddings.token_type_embeddings.weight", {c.types, c.hidden}, 0.0, 0.5);
  add_norm("embeddings.LayerNorm");
  for (uint32_t i = 0; i < c.layers; ++i) {
    const std::string layer = "encoder.layer." + std::to_string(i) + ".";
    for (const char* part : {"query", "key", "value"}) {
      add_linear(layer + "attention.self." + part, c.hidden, c.hidden);
    }
    add_linear(layer + "attention.output.dense", c.hidden, c.hidden);
    add_norm(layer + "attention.output.LayerNorm");
    add_linear(layer + "intermediate.dense", c.intermediate, c.hidden);
    add_linear(layer + "output.dense", c.hidden, c.intermediate);
    add_norm(layer + "output.LayerNorm");
  }
  if (c.labels == 0) return;
  add_linear("pooler.dense", c.hidden, c.hidden);
  add_linear("classifier", c.labels, c.hidden);
}

void ReferenceBert::add(const std::string& name, std::vector<uint64_t> shape, double centre,
                        double spread) {
  uint64_t seed = options_.seed;
  for (const char c : name) seed = seed * 131 + static_cast<unsigned char>(c);
  Prng random(seed);
  size_t count = 1;
  for (const uint64_t dimension : shape) count *= dimension;
  std::vector<float> values(count);
  for (float& value : values) {
    value = static_cast<float>(centre + spread * (2.0 * random.unit() - 1.0));
    // What a bfloat16 file can hold, so that both read the same numbers.
    if (options_.type == "BF16") {
      value = std::bit_cast<float>(std::bit_cast<uint32_t>(value) & 0xffff0000U);
    }
  }
  tensors_[name] = {std::move(shape), std::move(values)};
}

void ReferenceBert::add_linear(const std::string& name, uint64_t outputs, uint64_t inputs) {
  // Keeps the size of activations; a uniform spread s has variance s^2 / 3.
  add(name + ".weight", {outputs, inputs}, 0.0, std::sqrt(3.0 / static_cast<double>(inputs)));
  add(name + ".bias", {outputs}, 0.0, 0.2);
}

void ReferenceBert::add_norm(const std::string& name) {
  add(name + ".weight", {options_.config.hidden}, 1.0, 0.3);
  add(name + ".bias", {options_.config.hidden}, 0.0, 0.3);
}

double ReferenceBert::at(const std::string& name, size_t i) const {
  return static_cast<double>(tensors_.at(name).values[i]);
}

void ReferenceBert::write(const TempFolder& folder) const {
  const BertConfig& c = options_.config;
  const auto number = [](const char* name, uint32_t value) {
    return std::string("\"") + name + "\":" + std::to_string(value) + ",";
  };
  folder.write(
      "config.json",
      "{" + number("hidden_size", c.hidden) + number("num_hidden_layers", c.layers) +
          number("num_attention_heads", c.heads) + number("intermediate_size", c.intermediate) +
          number("vocab_size", c.vocabulary) + number("max_position_embeddings", c.positions) +
          number("type_vocab_size", c.types) + head_json() +
          "\"layer_norm_eps\":1e-12,\"hidden_act\":\"gelu\","
          "\"model_type\":\"bert\"}");
  write_weights(folder);
  if (c.labels != 0) return;
  const bool mean = options_.pooling == Pooling::kMean;
  folder.write("1_Pooling/config.json",
               std::string("{\"pooling_mode_mean_tokens\":") + (mean ? "true" : "false") +
                   ",\"pooling_mode_cls_token\":" + (mean ? "false" : "true") + "}");
  const std::string module = "{\"path\":\"\",\"type\":\"sentence_transformers.models.";
  folder.write("modules.json", "[" + module + "Transformer\"},{\"path\":\"1_Pooling\"," +
                                   "\"type\":\"sentence_transformers.models.Pooling\"}" +
                                   (options_.normalize ? "," + module + "Normalize\"}" : "") + "]");
}

void ReferenceBert::write_weights(const TempFolder& folder) const {
  std::vector<TensorData> data;
  for (const auto& [name, tensor] : tensors_) {
    if (name == options_.left_out) continue;
    data.push_back(
        {(name.starts_with("classifier") ? "" : options_.prefix) + name, options_.type,
         tensor.shape,
         options_.type == "BF16" ? bf16_bytes(tensor.values) : float_bytes(tensor.values)});
  }
  // What every published file carries and the engine must pass over.
  data.push_back(
      {options_.prefix + "embeddings.position_ids", "I64", {1, 1}, std::string(8, '\0')});
  folder.write("model.safetensors", safetensors_file(data));
}

std::string ReferenceBert::head_json() const {
  if (options_.config.labels == 0) return {};
  std::string json = "\"architectures\":[\"BertForSequenceClassification\"],\"id2label\":{";
  for (uint32_t i = 0; i < options_.config.labels; ++i) {
    const std::string number = std::to_string(i);
    json += (i == 0 ? "\"" : ",\"") + number + "\":\"class " + number + "\"";
  }
  json += "},";
  if (!options_.problem.empty()) json += "\"problem_type\":\"" + options_.problem + "\",";
  return json;
}

ReferenceBert::Rows ReferenceBert::linear(const Rows& x, const std::string& name) const {
  const Tensor& weight = tensors_.at(name + ".weight");
  const size_t outputs = weight.shape[0];
  const size_t inputs = weight.shape[1];
  Rows y(x.size(), std::vector<double>(outputs));
  for (size_t t = 0; t < x.size(); ++t) {
    for (size_t o = 0; o < outputs; ++o) {
      double sum = at(name + ".bias", o);
      const float* row = weight.values.data() + o * inputs;
      for (size_t i = 0; i < inputs; ++i) sum += x[t][i] * static_cast<double>(row[i]);
      y[t][o] = sum;
    }
  }
  return y;
}

void ReferenceBert::norm(Rows& x, const std::string& name) const {
  for (std::vector<double>& row : x) {
    const auto width = static_cast<double>(row.size());
    double mean = 0.0;
    for (const double value : row) mean += value / width;
    double variance = 0.0;
    for (const double value : row) variance += (value - mean) * (value - mean) / width;
    const double deviation =
        std::sqrt(variance + static_cast<double>(options_.config.layer_norm_epsilon));
    for (size_t i = 0; i < row.size(); ++i) {
      row[i] = (row[i] - mean) / deviation * at(name + ".weight", i) + at(name + ".bias", i);
    }
  }
}

ReferenceBert::Rows ReferenceBert::attention(const Rows& x, const std::string& layer) const {
  const Rows query = linear(x, layer + "attention.self.query");
  const Rows key = linear(x, layer + "attention.self.key");
  const Rows value = linear(x, layer + "attention.self.value");
  const size_t width = options_.config.head_width();
  Rows context(x.size(), std::vector<double>(options_.config.hidden));
  for (size_t first = 0; first < options_.config.hidden; first += width) {
    for (size_t t = 0; t < x.size(); ++t) {
      std::vector<double> weights(x.size());
      double total = 0.0;
      for (size_t j = 0; j < x.size(); ++j) {
        double score = 0.0;
        for (size_t d = first; d < first + width; ++d) score += query[t][d] * key[j][d];
        weights[j] = std::exp(score / std::sqrt(static_cast<double>(width)));
        total += weights[j];
      }
      for (size_t j = 0; j < x.size(); ++j) {
        for (size_t d = first; d < first + width; ++d) {
          context[t][d] += weights[j] / total * value[j][d];
        }
      }
    }
  }
  return context;
}

ReferenceBert::Rows ReferenceBert::encode(std::span<const int32_t> row) const {
  const size_t hidden = options_.config.hidden;
  Rows x(row.size(), std::vector<double>(hidden));
  for (size_t t = 0; t < row.size(); ++t) {
    const auto id = static_cast<size_t>(row[t] & ~kSecondSegment);
    const size_t segment = (row[t] & kSecondSegment) != 0 ? 1 : 0;
    for (size_t i = 0; i < hidden; ++i) {
      x[t][i] = at("embeddings.word_embeddings.weight", id * hidden + i) +
                at("embeddings.position_embeddings.weight", t * hidden + i) +
                at("embeddings.token_type_embeddings.weight", segment * hidden + i);
    }
  }
  norm(x, "embeddings.LayerNorm");
  const auto add_rows = [&](Rows& to, const Rows& from) {
    for (size_t t = 0; t < to.size(); ++t) {
      for (size_t i = 0; i < hidden; ++i) to[t][i] += from[t][i];
    }
  };
  for (uint32_t i = 0; i < options_.config.layers; ++i) {
    const std::string layer = "encoder.layer." + std::to_string(i) + ".";
    add_rows(x, linear(attention(x, layer), layer + "attention.output.dense"));
    norm(x, layer + "attention.output.LayerNorm");
    Rows wide = linear(x, layer + "intermediate.dense");
    for (std::vector<double>& one : wide) {
      for (double& value : one) value = 0.5 * value * (1.0 + std::erf(value / std::sqrt(2.0)));
    }
    add_rows(x, linear(wide, layer + "output.dense"));
    norm(x, layer + "output.LayerNorm");
  }
  return x;
}

std::vector<double> ReferenceBert::logits(std::span<const int32_t> row) const {
  Rows first = linear({encode(row)[0]}, "pooler.dense");
  for (double& value : first[0]) value = std::tanh(value);
  return linear(first, "classifier")[0];
}

std::vector<double> ReferenceBert::embed(std::span<const int32_t> row) const {
  const size_t hidden = options_.config.hidden;
  const Rows x = encode(row);
  std::vector<double> pooled = x[0];
  if (options_.pooling == Pooling::kMean) {
    for (size_t i = 0; i < hidden; ++i) {
      pooled[i] = 0.0;
      for (const std::vector<double>& one : x) pooled[i] += one[i] / static_cast<double>(x.size());
    }
  }
  double square = 0.0;
  for (const double value : pooled) square += value * value;
  for (double& value : pooled) value /= options_.normalize ? std::sqrt(square) : 1.0;
  return pooled;
}

std::vector<int32_t> ReferenceBert::random_ids(size_t count, uint64_t seed) const {
  Prng random(seed);
  std::vector<int32_t> ids(count);
  for (int32_t& id : ids) {
    id = static_cast<int32_t>(random.between(0, int64_t{options_.config.vocabulary} - 1));
  }
  return ids;
}

std::vector<int32_t> ReferenceBert::random_pair(size_t first, size_t second, uint64_t seed) const {
  std::vector<int32_t> row = random_ids(first + second, seed);
  for (size_t i = first; i < row.size(); ++i) row[i] |= kSecondSegment;
  return row;
}

ReferenceBert::Options ReferenceBert::golden_options(uint32_t labels) {
  return {.config = {.layers = 3,
                     .hidden = 64,
                     .heads = 2,
                     .intermediate = 128,
                     .vocabulary = 211,
                     .positions = 128,
                     .types = 2,
                     .labels = labels},
          .prefix = "bert.",
          .seed = 20 + labels};
}

std::vector<int32_t> ReferenceBert::golden_row(size_t index) const {
  // Lengths of all sizes up to the limit; each third row is a single text.
  const size_t first = 1 + index * 29 % 67;
  const size_t second = index % 3 == 0 ? 0 : 1 + index * 41 % 61;
  return random_pair(first, second, 1000 + index);
}

}  // namespace sluice
