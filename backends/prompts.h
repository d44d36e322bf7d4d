// SPDX-License-Identifier: Apache-2.0
#pragma once
// The texts a model was trained to have before its inputs, as sentence-transformers keeps them.

#include <string>
#include <utility>
#include <vector>

#include "base/result.h"

namespace sluice {

struct Prompts {
  std::vector<std::pair<std::string, std::string>> by_name;  // name → text before the input
  std::string usual;  // before an input of a request that names none; mostly empty
};

// Reads prompts and default_prompt_name of `folder`/config_sentence_transformers.json; none if the
// file is not there. kInvalid, naming file and field, for what is of the wrong type or a default
// that is not among the prompts.
Result<Prompts> read_prompts(const std::string& folder);

}  // namespace sluice
