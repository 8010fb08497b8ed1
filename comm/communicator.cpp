#include "comm/communicator.hpp"

#include <algorithm>
#include <cstring>

#include "core/error.hpp"

namespace slicereduce {

void Communicator::give_up(const std::string& why) const { throw Error(ErrorKind::mpi, why); }

std::vector<std::string> allgather_texts(Communicator& communicator, std::string_view text) {
  const auto ranks = static_cast<std::size_t>(communicator.world_size());
  const std::uint64_t own_length = text.size();
  std::vector<std::uint64_t> lengths(ranks);
  const auto gathered_lengths = communicator.allgather(std::as_bytes(std::span(&own_length, 1)));
  std::memcpy(lengths.data(), gathered_lengths.data(), gathered_lengths.size());

  std::string padded(text);
  padded.resize(*std::ranges::max_element(lengths));
  const auto gathered = communicator.allgather(std::as_bytes(std::span(padded)));
  std::vector<std::string> texts;
  for (std::size_t rank = 0; rank < ranks; ++rank) {
    // Not data() + offset of an empty vector: all texts may be empty.
    const auto own = std::span(gathered).subspan(rank * padded.size(), lengths[rank]);
    std::string& copy = texts.emplace_back(own.size(), '\0');
    std::ranges::transform(own, copy.begin(), [](std::byte byte) { return static_cast<char>(byte); });
  }
  return texts;
}

}  // namespace slicereduce
