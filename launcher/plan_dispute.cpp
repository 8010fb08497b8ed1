#include "launcher/plan_dispute.hpp"

#include <algorithm>
#include <iterator>
#include <vector>

#include "core/error.hpp"
#include "core/text.hpp"

namespace slicereduce {

namespace {

template <typename T>
void append(std::vector<std::byte>& bytes, std::span<const T> values) {
  std::ranges::copy(std::as_bytes(values), std::back_inserter(bytes));
}

class Reader {
 public:
  explicit Reader(std::span<const std::byte> bytes) : bytes_(bytes) {}
  template <typename T>
  std::vector<T> take(std::size_t count) {
    require(count <= bytes_.size() / sizeof(T), "another rank's plan is shorter than it says");
    std::vector<T> values(count);
    std::ranges::copy(bytes_.first(count * sizeof(T)), std::as_writable_bytes(std::span(values)).begin());
    bytes_ = bytes_.subspan(count * sizeof(T));
    return values;
  }

 private:
  std::span<const std::byte> bytes_;
};

}  // namespace

std::string describe_dispute(std::span<const Site> sites, const Plan& plan, Communicator& communicator) {
  std::vector<std::uint64_t> own;
  own.reserve(plan.sets.size());
  for (const auto& set : plan.sets) {
    own.push_back(Plan{.sets = {set}}.digest());
  }
  const auto bytes = communicator.allgather(std::as_bytes(std::span(own)));
  Reader reader(bytes);
  const auto all = reader.take<std::uint64_t>(bytes.size() / sizeof(std::uint64_t));
  std::string text;
  for (std::size_t s = 0; s < sites.size(); ++s) {
    for (int rank = 1; rank < communicator.world_size(); ++rank) {
      if (all[rank * sites.size() + s] != all[s]) {
        text += concat(text.empty() ? "" : "; ", "rank ", rank, " keeps other channels of ", sites[s].name,
                       " than rank 0");
      }
    }
  }
  return text;
}

PlannerState broadcast_planner(const PlannerState& own, Communicator& communicator) {
  std::vector<std::byte> bytes;
  append(bytes, std::span(&own.ratio, 1));
  for (const auto& waiting : own.waiting) {
    append(bytes, std::span<const std::uint32_t>(waiting));
  }
  for (const auto& set : own.plan.sets) {
    const std::vector<std::int64_t> sizes{set.channels, set.size(),
                                          static_cast<std::int64_t>(set.scale.size())};
    append(bytes, std::span<const std::int64_t>(sizes));
    append(bytes, std::span<const std::int32_t>(set.kept));
    append(bytes, std::span<const float>(set.scale));
  }
  std::uint64_t size = bytes.size();
  communicator.broadcast(std::as_writable_bytes(std::span(&size, 1)), 0);
  bytes.resize(size);
  communicator.broadcast(bytes, 0);
  Reader reader(bytes);
  PlannerState agreed;
  agreed.ratio = reader.take<double>(1).front();
  for (const auto& waiting : own.waiting) {
    agreed.waiting.push_back(reader.take<std::uint32_t>(waiting.size()));
  }
  for (std::size_t s = 0; s < own.plan.sets.size(); ++s) {
    const auto sizes = reader.take<std::int64_t>(3);
    ChannelSet set{.channels = sizes[0], .kept = {}, .scale = {}};
    set.kept = reader.take<std::int32_t>(static_cast<std::size_t>(sizes[1]));
    set.scale = reader.take<float>(static_cast<std::size_t>(sizes[2]));
    set.check();
    agreed.plan.sets.push_back(std::move(set));
  }
  return agreed;
}

}  // namespace slicereduce
