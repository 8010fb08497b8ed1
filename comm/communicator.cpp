#include "comm/communicator.hpp"

#include <ATen/ops/empty.h>
#include <c10/core/Stream.h>

#include <algorithm>
#include <cstring>
#include <thread>
#include <utility>

#include "comm/pack.hpp"
#include "core/error.hpp"

namespace slicereduce {

at::Tensor Communicator::make_buffer(std::int64_t numel, WireType type) {
  return at::empty({numel}, at::TensorOptions(device()).dtype(scalar_type(type)));
}

std::shared_ptr<const c10::Event> Communicator::enqueue_allreduce(WireBuffer buffer,
                                                                  const OnItsStream& around) {
  const Wait wait(*this);
  const c10::Stream here(c10::Stream::DEFAULT, device());
  around.before(here);
  const auto pending = start_allreduce(std::move(buffer));
  while (!pending->test()) {
    std::this_thread::yield();
  }
  around.after(here);
  return nullptr;
}

void Communicator::give_up(const std::string& why) const { throw Error(ErrorKind::mpi, why); }

namespace {

/// Of all ranks, in bytes.
std::vector<std::uint64_t> allgather_lengths(Communicator& communicator, std::string_view text) {
  const std::uint64_t own = text.size();
  std::vector<std::uint64_t> lengths(static_cast<std::size_t>(communicator.world_size()));
  const auto gathered = communicator.allgather(std::as_bytes(std::span(&own, 1)));
  std::memcpy(lengths.data(), gathered.data(), gathered.size());
  return lengths;
}

/// Collectives take equally much from each rank.
std::string padded(std::string_view text, std::span<const std::uint64_t> lengths) {
  std::string all(text);
  all.resize(*std::ranges::max_element(lengths));
  return all;
}

std::vector<std::string> unpadded(std::span<const std::byte> gathered,
                                  std::span<const std::uint64_t> lengths) {
  std::vector<std::string> texts;
  for (std::size_t rank = 0; rank < lengths.size(); ++rank) {
    // Not data() + offset of an empty vector: all texts may be empty.
    const auto own = gathered.subspan(rank * (gathered.size() / lengths.size()), lengths[rank]);
    std::string& copy = texts.emplace_back(own.size(), '\0');
    std::ranges::transform(own, copy.begin(), [](std::byte byte) { return static_cast<char>(byte); });
  }
  return texts;
}

}  // namespace

std::vector<std::string> allgather_texts(Communicator& communicator, std::string_view text) {
  const auto lengths = allgather_lengths(communicator, text);
  const std::string own = padded(text, lengths);
  return unpadded(communicator.allgather(std::as_bytes(std::span(own))), lengths);
}

std::vector<std::string> gather_texts(Communicator& communicator, std::string_view text, int root) {
  const auto lengths = allgather_lengths(communicator, text);
  const std::string own = padded(text, lengths);
  if (communicator.rank() != root) {
    communicator.gather(std::as_bytes(std::span(own)), {}, root);
    return {};
  }
  std::vector<std::byte> all(own.size() * lengths.size());
  communicator.gather(std::as_bytes(std::span(own)), all, root);
  return unpadded(all, lengths);
}

}  // namespace slicereduce
