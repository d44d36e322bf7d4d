// SPDX-License-Identifier: Apache-2.0
#include "tests/ptx/report.h"

namespace sluice::ptx {

std::string_view name_of(FindingKind kind) {
  switch (kind) {
    case FindingKind::kSharedRace:
      return "shared race";
    case FindingKind::kWarpRace:
      return "warp race";
    case FindingKind::kGlobalRace:
      return "global race";
    case FindingKind::kBlockRace:
      return "block race";
    case FindingKind::kUninitialisedShared:
      return "uninitialised shared memory";
    case FindingKind::kUninitialisedGlobal:
      return "uninitialised global memory";
    case FindingKind::kUninitialisedRegister:
      return "uninitialised register";
    case FindingKind::kAsyncHazard:
      return "async hazard";
    case FindingKind::kUnpublished:
      return "unpublished writes";
    case FindingKind::kEarlyAccess:
      return "early access";
    case FindingKind::kOutOfBounds:
      return "out of bounds";
    case FindingKind::kReadOnlyWritten:
      return "read-only memory written";
    case FindingKind::kMisaligned:
      return "misaligned";
    case FindingKind::kInactiveSource:
      return "inactive source lane";
    case FindingKind::kMaskExcludesCaller:
      return "mask excludes its caller";
    case FindingKind::kMaskNamesExitedLane:
      return "mask names an exited lane";
    case FindingKind::kInactiveLanes:
      return "aligned instruction with inactive lanes";
    case FindingKind::kWarpDeadlock:
      return "deadlock in a warp";
    case FindingKind::kBlockDeadlock:
      return "deadlock in a block";
    case FindingKind::kTrap:
      return "trap";
    case FindingKind::kUnsupported:
      return "unsupported instruction";
    case FindingKind::kLimit:
      return "limit";
  }
  return "unknown";
}

std::string describe(const Finding& finding) {
  std::string text(name_of(finding.kind));
  text += " x" + std::to_string(finding.count) + " in " + finding.kernel + ", PTX line " +
          std::to_string(finding.line);
  if (finding.source_line != 0)
    text += " (source line " + std::to_string(finding.source_line) + ")";
  text += ", block " + std::to_string(finding.block) + " warp " + std::to_string(finding.warp) +
          " lane " + std::to_string(finding.lane) + ": " + finding.text;
  return text;
}

}  // namespace sluice::ptx
