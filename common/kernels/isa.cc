#include "common/kernels/isa.h"

#include <algorithm>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace tandem {
namespace {

constexpr Isa kAll[kNumIsas] = {Isa::kPortable, Isa::kAvx2, Isa::kAvx512, Isa::kAvx512Bf16};

std::string Names(const std::vector<Isa>& isas) {
  return absl::StrJoin(isas, ", ",
                       [](std::string* out, Isa isa) { absl::StrAppend(out, NameOf(isa)); });
}

}  // namespace

absl::string_view NameOf(Isa isa) {
  switch (isa) {
    case Isa::kPortable:
      return "portable";
    case Isa::kAvx2:
      return "avx2";
    case Isa::kAvx512:
      return "avx512";
    case Isa::kAvx512Bf16:
      return "avx512_bf16";
  }
  return "unknown";
}

std::vector<Isa> SupportedIsas() {
  // The builtins ask the operating system too, whether it saves the wide registers.
  __builtin_cpu_init();
  std::vector<Isa> out = {Isa::kPortable};
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return out;
  out.push_back(Isa::kAvx2);
  if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
      !__builtin_cpu_supports("avx512dq") || !__builtin_cpu_supports("avx512vl")) {
    return out;
  }
  out.push_back(Isa::kAvx512);
  if (__builtin_cpu_supports("avx512bf16")) out.push_back(Isa::kAvx512Bf16);
  return out;
}

absl::StatusOr<Isa> ChooseIsa(absl::string_view name) {
  return ChooseIsaFrom(name, SupportedIsas());
}

absl::StatusOr<Isa> ChooseIsaFrom(absl::string_view name, const std::vector<Isa>& supported) {
  if (name == "auto") return supported.back();
  const auto* found =
      std::find_if(std::begin(kAll), std::end(kAll), [&](Isa isa) { return NameOf(isa) == name; });
  if (found == std::end(kAll)) {
    return absl::InvalidArgumentError(
        absl::StrCat("unknown instruction set \"", name, "\"; choose auto, ",
                     Names(std::vector<Isa>(std::begin(kAll), std::end(kAll)))));
  }
  if (std::find(supported.begin(), supported.end(), *found) == supported.end()) {
    return absl::FailedPreconditionError(
        absl::StrCat("this processor cannot run instruction set \"", name, "\"; it has ",
                     Names(supported), ": choose one of these, or auto"));
  }
  return *found;
}

}  // namespace tandem
