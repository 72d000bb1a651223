// Random draws that depend on (seed, sample, step, token) alone: a counter through Philox4x32-10
// (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", SC 2011). No state,
// so any rank, thread or batch draws the same for a token. And how a token is chosen by them: the
// largest of logit / temperature + Gumbel noise, which is a draw from their softmax.
#ifndef TANDEM_COMMON_KERNELS_DRAWS_H_
#define TANDEM_COMMON_KERNELS_DRAWS_H_

#include <array>
#include <cstdint>

namespace tandem {

struct DrawKey {
  uint64_t seed = 0;
  uint32_t sample = 0;
  uint32_t step = 0;  // Tokens of the answer before.
};

// Four words: those of tokens 4 block ... 4 block + 3.
inline std::array<uint32_t, 4> DrawBlock(const DrawKey& key, uint32_t block) {
  std::array<uint32_t, 4> c = {block, key.step, key.sample, 0};
  auto k0 = static_cast<uint32_t>(key.seed), k1 = static_cast<uint32_t>(key.seed >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53} * c[0], b = uint64_t{0xCD9E8D57} * c[2];
    c = {static_cast<uint32_t>(b >> 32) ^ c[1] ^ k0, static_cast<uint32_t>(b),
         static_cast<uint32_t>(a >> 32) ^ c[3] ^ k1, static_cast<uint32_t>(a)};
    k0 += 0x9E3779B9;
    k1 += 0xBB67AE85;
  }
  return c;
}

inline uint32_t DrawBits(const DrawKey& key, int32_t token) {
  const auto id = static_cast<uint32_t>(token);
  return DrawBlock(key, id / 4)[id % 4];
}

// -log(-log(u)) for u = (bits + 1/2) / 2^32; grows with bits, from -3.14 to kMaxGumbel.
float GumbelOf(uint32_t bits);
inline constexpr float kMaxGumbel = 22.8743f;

// No smaller bits have GumbelOf(bits) >= noise (a bound that may lie a little too low; any noise).
uint32_t LeastBitsFor(float noise);

}  // namespace tandem

#endif  // TANDEM_COMMON_KERNELS_DRAWS_H_
