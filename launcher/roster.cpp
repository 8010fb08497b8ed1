#include "launcher/roster.hpp"

#include <algorithm>
#include <tuple>
#include <utility>

#include "core/error.hpp"
#include "core/text.hpp"

namespace slicereduce {

Roster::Roster(std::vector<std::string> hosts, const std::vector<int>& watched, Clock::time_point now)
    : hosts_(std::move(hosts)) {
  for (const int rank : watched) {
    entries_[rank] = {.beat = {}, .heard = now};
  }
}

void Roster::hear(int rank, const Beat& beat, Clock::time_point now) {
  const auto entry = entries_.find(rank);
  require(entry != entries_.end(), "a rank that is not watched was heard");
  entry->second = {.beat = beat, .heard = now};
}

void Roster::excuse_all(Clock::time_point now) {
  for (auto& [rank, entry] : entries_) {
    entry.heard = now;
  }
}

std::optional<int> Roster::silent(Clock::duration limit, Clock::time_point now) const {
  const auto longest = std::ranges::min_element(
      entries_, {}, [](const auto& rank_and_entry) { return rank_and_entry.second.heard; });
  if (longest == entries_.end() || now - longest->second.heard <= limit) {
    return std::nullopt;
  }
  return longest->first;
}

std::optional<int> Roster::late(int self, const Beat& own, Clock::time_point now) const {
  std::vector<std::pair<int, Beat>> all{{self, own}};
  for (const auto& [rank, entry] : entries_) {
    all.emplace_back(rank, entry.beat);
    all.back().second.seconds += std::chrono::duration<double>(now - entry.heard).count();
  }
  std::erase_if(all, [](const auto& rank_and_beat) { return rank_and_beat.second.waits != 0; });
  const auto furthest_behind = std::ranges::min_element(all, {}, [](const auto& rank_and_beat) {
    const Beat& beat = rank_and_beat.second;
    return std::tuple(beat.step, beat.phase, -beat.seconds);
  });
  return furthest_behind == all.end() ? std::nullopt : std::optional(furthest_behind->first);
}

std::string Roster::describe(int rank, Clock::time_point now) const {
  const Entry& entry = entries_.at(rank);
  const auto silence = std::chrono::duration_cast<std::chrono::seconds>(now - entry.heard);
  return concat("rank ", rank, " on ", host(rank), ", last heard ", silence.count(), " s ago (",
                slicereduce::describe(entry.beat), ")");
}

}  // namespace slicereduce
