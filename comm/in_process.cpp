#include "comm/in_process.hpp"

#include <algorithm>
#include <array>
#include <condition_variable>
#include <cstring>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <utility>

#include "core/error.hpp"
#include "core/text.hpp"

namespace slicereduce {
namespace {

/// Which of a rank's two orders of collectives one belongs to.
enum class Plane : std::uint8_t { reduction, control };
constexpr std::size_t kPlanes = 2;

/// What a rank calls. All ranks must bring the same.
struct Call {
  const char* operation = "";
  std::size_t bytes = 0;
  std::string detail;

  bool operator==(const Call& other) const {
    return std::string_view(operation) == other.operation && bytes == other.bytes && detail == other.detail;
  }
};

std::string describe(const Call& call) {
  return concat(call.operation, " of ", call.bytes, " bytes", call.detail.empty() ? "" : " ", call.detail);
}

using Contributions = std::vector<std::vector<std::byte>>;
/// From all ranks' bytes, in rank order, to what every rank gets.
using Combine = std::vector<std::byte> (*)(const Contributions&, int argument);

struct Collective {
  Call call;
  int first_rank = 0;
  Contributions contributions;
  int arrived = 0;
  bool complete = false;
  std::vector<std::byte> result;  ///< once complete
  std::optional<Error> failure;
};

std::vector<std::byte> sum_wire(const Contributions& contributions, int type) {
  std::vector<std::byte> sum = contributions.front();
  for (std::size_t rank = 1; rank < contributions.size(); ++rank) {
    add_into(sum, contributions[rank], static_cast<WireType>(type));
  }
  return sum;
}

template <typename T, typename Accumulate>
std::vector<std::byte> fold(const Contributions& contributions, Accumulate accumulate) {
  std::vector<T> total(contributions.front().size() / sizeof(T));
  std::vector<T> next(total.size());
  for (std::size_t rank = 0; rank < contributions.size() && !total.empty(); ++rank) {
    auto& into = rank == 0 ? total : next;
    std::memcpy(into.data(), contributions[rank].data(), contributions[rank].size());
    if (rank > 0) {
      std::ranges::transform(total, next, total.begin(), accumulate);
    }
  }
  const auto bytes = std::as_bytes(std::span(total));
  return {bytes.begin(), bytes.end()};
}

std::vector<std::byte> smallest(const Contributions& contributions, int /*unused*/) {
  return fold<std::uint64_t>(contributions, [](std::uint64_t a, std::uint64_t b) { return std::min(a, b); });
}

std::vector<std::byte> sum_doubles(const Contributions& contributions, int /*unused*/) {
  return fold<double>(contributions, std::plus<>());
}

std::vector<std::byte> of_root(const Contributions& contributions, int root) {
  return contributions.at(static_cast<std::size_t>(root));
}

std::vector<std::byte> in_rank_order(const Contributions& contributions, int /*unused*/) {
  std::vector<std::byte> all;
  for (const auto& one : contributions) {
    all.insert(all.end(), one.begin(), one.end());
  }
  return all;
}

void copy_to(std::span<std::byte> out, const std::vector<std::byte>& result) {
  require(out.size() == result.size(), "in-process collective: the result has another size than the buffer");
  if (!out.empty()) {
    std::memcpy(out.data(), result.data(), out.size());
  }
}

}  // namespace

/// The meeting place. Ranks leave copies here and take copies away, so that no rank ever writes into
/// the memory of another one, which may have left on an error.
class InProcessGroup::Exchange {
 public:
  explicit Exchange(int world_size) : world_size_(world_size) {
    for (auto& plane : planes_) {
      plane.next.resize(static_cast<std::size_t>(world_size));
    }
  }

  [[nodiscard]] int world_size() const noexcept { return world_size_; }

  std::shared_ptr<Collective> join(Plane which, int rank, const Call& call, std::span<const std::byte> bytes,
                                   Combine combine, int argument) {
    const std::lock_guard lock(mutex_);
    auto& plane = planes_.at(static_cast<std::size_t>(which));
    const std::uint64_t sequence = plane.next.at(static_cast<std::size_t>(rank))++;
    auto& entry = plane.open[sequence];
    if (!entry) {
      entry = std::make_shared<Collective>();
      entry->call = call;
      entry->first_rank = rank;
      entry->contributions.resize(plane.next.size());
    }
    const std::shared_ptr<Collective> collective = entry;
    if (!(call == collective->call) && !collective->failure) {
      collective->failure.emplace(ErrorKind::disagreement,
                                  concat("collective ", sequence, ": rank ", rank, " calls ", describe(call),
                                         ", rank ", collective->first_rank, " ", describe(collective->call),
                                         "; all ranks must call the same collectives in the same order"));
    }
    collective->contributions.at(static_cast<std::size_t>(rank)).assign(bytes.begin(), bytes.end());
    if (++collective->arrived == world_size_) {
      if (!collective->failure) {
        collective->result = combine(collective->contributions, argument);
        collective->complete = true;
      }
      plane.open.erase(sequence);
    }
    changed_.notify_all();
    return collective;
  }

  /// Throws where the collective has failed.
  bool done(const Collective& collective) {
    const std::lock_guard lock(mutex_);
    return settled(collective);
  }

  void wait(const Collective& collective) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return settled(collective); });
  }

  void abort(const std::string& reason) {
    const std::lock_guard lock(mutex_);
    if (!aborted_) {
      aborted_.emplace(ErrorKind::mpi, concat("the in-process group was aborted: ", reason));
    }
    changed_.notify_all();
  }

 private:
  struct Order {
    std::vector<std::uint64_t> next;  ///< by rank: the sequence number of its next collective
    std::map<std::uint64_t, std::shared_ptr<Collective>> open;
  };

  bool settled(const Collective& collective) const {
    if (collective.complete) {
      return true;
    }
    if (collective.failure) {
      throw Error(*collective.failure);
    }
    if (aborted_) {
      throw Error(*aborted_);
    }
    return false;
  }

  const int world_size_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::array<Order, kPlanes> planes_;
  std::optional<Error> aborted_;
};

class InProcessGroup::RankPending final : public Pending {
 public:
  RankPending(Exchange& exchange, std::shared_ptr<Collective> collective, std::span<std::byte> out)
      : exchange_(exchange), collective_(std::move(collective)), out_(out) {}

  bool test() override {
    if (collective_ && exchange_.done(*collective_)) {
      copy_to(out_, collective_->result);
      collective_.reset();
    }
    return !collective_;
  }

 private:
  Exchange& exchange_;
  std::shared_ptr<Collective> collective_;
  std::span<std::byte> out_;
};

class InProcessGroup::Rank final : public Communicator {
 public:
  Rank(Exchange& exchange, int rank) : exchange_(exchange), rank_(rank) {}

  [[nodiscard]] int rank() const noexcept override { return rank_; }
  [[nodiscard]] int world_size() const noexcept override { return exchange_.world_size(); }

  std::unique_ptr<Pending> start_allreduce(WireBuffer buffer) override {
    return start({"allreduce", buffer.bytes.size(), std::string(wire_name(buffer.type))}, buffer.bytes,
                 sum_wire, static_cast<int>(buffer.type));
  }

  std::unique_ptr<Pending> start_allreduce_min(std::span<std::uint64_t> values) override {
    return start({"allreduce_min", values.size_bytes(), ""}, std::as_writable_bytes(values), smallest, 0);
  }

  void broadcast(std::span<std::byte> bytes, int root) override {
    require(0 <= root && root < world_size(), "broadcast: no rank is the root");
    copy_to(bytes, meet({"broadcast", bytes.size(), concat("from rank ", root)}, bytes, of_root, root));
  }

  std::vector<std::byte> allgather(std::span<const std::byte> bytes) override {
    return meet({"allgather", bytes.size(), ""}, bytes, in_rank_order, 0);
  }

  void gather(std::span<const std::byte> bytes, std::span<std::byte> all, int root) override {
    require(0 <= root && root < world_size(), "gather: no rank is the root");
    const auto gathered = meet({"gather", bytes.size(), concat("to rank ", root)}, bytes, in_rank_order, 0);
    if (rank_ == root) {
      require(all.size() == gathered.size(), "gather: the root has no room for all ranks' bytes");
      copy_to(all, gathered);
    }
  }

  void allreduce_sum(std::span<double> values) override {
    const auto bytes = std::as_writable_bytes(values);
    copy_to(bytes, meet({"allreduce_sum", bytes.size(), ""}, bytes, sum_doubles, 0));
  }

  void barrier() override { meet({"barrier", 0, ""}, {}, in_rank_order, 0); }

 private:
  std::unique_ptr<Pending> start(const Call& call, std::span<std::byte> bytes, Combine combine,
                                 int argument) {
    auto collective = exchange_.join(Plane::reduction, rank_, call, bytes, combine, argument);
    return std::make_unique<RankPending>(exchange_, std::move(collective), bytes);
  }

  std::vector<std::byte> meet(const Call& call, std::span<const std::byte> bytes, Combine combine,
                              int argument) {
    auto collective = exchange_.join(Plane::control, rank_, call, bytes, combine, argument);
    exchange_.wait(*collective);
    return collective->result;
  }

  Exchange& exchange_;
  const int rank_;
};

InProcessGroup::InProcessGroup(int world_size) {
  require(world_size >= 1, "an in-process group needs a rank");
  exchange_ = std::make_unique<Exchange>(world_size);
  for (int rank = 0; rank < world_size; ++rank) {
    ranks_.push_back(std::make_unique<Rank>(*exchange_, rank));
  }
}

InProcessGroup::~InProcessGroup() = default;

Communicator& InProcessGroup::rank(int rank) { return *ranks_.at(static_cast<std::size_t>(rank)); }

void InProcessGroup::abort(const std::string& reason) { exchange_->abort(reason); }

}  // namespace slicereduce
