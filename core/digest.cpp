#include "core/digest.hpp"

#include <xxhash.h>

#include <array>

#include "core/error.hpp"

namespace slicereduce {

namespace {

struct Handle {
  Handle() : handle(XXH3_createState()) { require(handle != nullptr, "XXH3_createState failed"); }
  ~Handle() { XXH3_freeState(handle); }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;

  XXH3_state_t* handle;
};

}  // namespace

struct Digest::State : Handle {};

Digest::Digest() : state_(std::make_unique<State>()) { XXH3_64bits_reset(state_->handle); }
Digest::~Digest() = default;
Digest::Digest(Digest&&) noexcept = default;
Digest& Digest::operator=(Digest&&) noexcept = default;

Digest& Digest::add(std::span<const std::byte> bytes) {
  XXH3_64bits_update(state_->handle, bytes.data(), bytes.size());
  return *this;
}

Digest& Digest::add_text(const std::string& text) {
  const std::array<std::uint64_t, 1> size{text.size()};
  add_values(std::span<const std::uint64_t>(size));
  return add(std::as_bytes(std::span(text)));
}

std::uint64_t Digest::value() const { return XXH3_64bits_digest(state_->handle); }

std::uint64_t digest_of(std::span<const std::byte> bytes) { return XXH3_64bits(bytes.data(), bytes.size()); }

struct RunningDigest128::State : Handle {};

RunningDigest128::RunningDigest128() : state_(std::make_unique<State>()) {
  XXH3_128bits_reset(state_->handle);
}
RunningDigest128::~RunningDigest128() = default;

void RunningDigest128::add(std::span<const std::byte> bytes) {
  XXH3_128bits_update(state_->handle, bytes.data(), bytes.size());
}

Digest128 RunningDigest128::value() const {
  const XXH128_hash_t hash = XXH3_128bits_digest(state_->handle);
  return {hash.low64, hash.high64};
}

Digest128 digest128_of(std::span<const std::byte> bytes) {
  const XXH128_hash_t hash = XXH3_128bits(bytes.data(), bytes.size());
  return {hash.low64, hash.high64};
}

std::string to_hex(std::uint64_t digest) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text(16, '0');
  for (std::size_t i = 0; i < text.size(); ++i) {
    text[text.size() - 1 - i] = kDigits[(digest >> (4 * i)) & 0xF];
  }
  return text;
}

}  // namespace slicereduce
