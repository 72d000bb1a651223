// The choice of an instruction set, and its refusals.
#include "common/kernels/isa.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace tandem {
namespace {

TEST(IsaTest, PortableIsAlwaysThere) {
  EXPECT_EQ(SupportedIsas().front(), Isa::kPortable);
  EXPECT_EQ(*ChooseIsa("portable"), Isa::kPortable);
  for (Isa isa : SupportedIsas()) EXPECT_EQ(*ChooseIsa(NameOf(isa)), isa);
}

TEST(IsaTest, AutoIsTheBest) {
  EXPECT_EQ(*ChooseIsa("auto"), SupportedIsas().back());
  EXPECT_EQ(*ChooseIsaFrom("auto", {Isa::kPortable, Isa::kAvx2}), Isa::kAvx2);
}

TEST(IsaTest, UnknownNamesAreRefused) {
  for (const char* name : {"", "AVX2", "avx512bf16", "sse", "portable "}) {
    const absl::Status status = ChooseIsa(name).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << name;
  }
  EXPECT_EQ(ChooseIsa("sse").status().message(),
            "unknown instruction set \"sse\"; choose auto, portable, avx2, avx512, avx512_bf16");
}

TEST(IsaTest, WhatTheProcessorLacksIsRefused) {
  const absl::Status status = ChooseIsaFrom("avx512", {Isa::kPortable, Isa::kAvx2}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(status.message(),
            "this processor cannot run instruction set \"avx512\"; it has portable, avx2: choose "
            "one of these, or auto");
}

}  // namespace
}  // namespace tandem
