// SPDX-License-Identifier: Apache-2.0
#pragma once
// The part of the backends' settings that is about HTTP endpoints; settings_table.cc puts the
// tables together.

#include <vector>

#include "gateway/settings.h"

namespace sluice {

// Appends the keys of UpstreamConfig to the table of BackendConfig's keys.
void append_upstream_settings(std::vector<Setting<BackendConfig>>& table);

}  // namespace sluice
