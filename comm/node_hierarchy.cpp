#include "comm/node_hierarchy.hpp"

#include <algorithm>

#include "comm/check_mpi.hpp"
#include "core/error.hpp"

namespace slicereduce {

namespace {

MPI_Comm split(MPI_Comm parent, int color) {
  int rank = 0;
  check_mpi(MPI_Comm_rank(parent, &rank), "MPI_Comm_rank");
  MPI_Comm part = MPI_COMM_NULL;
  check_mpi(MPI_Comm_split(parent, color, rank, &part), "MPI_Comm_split");
  if (part != MPI_COMM_NULL) {
    check_mpi(MPI_Comm_set_errhandler(part, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
  }
  return part;
}

int rank_in(MPI_Comm communicator) {
  int rank = 0;
  check_mpi(MPI_Comm_rank(communicator, &rank), "MPI_Comm_rank");
  return rank;
}

}  // namespace

/// An AllReduce on its way through the levels.
class NodeHierarchy::Stages final : public Pending {
 public:
  Stages(NodeHierarchy& hierarchy, const MpiNumbers& numbers) : hierarchy_(hierarchy), numbers_(numbers) {
    const void* from = hierarchy_.leads() ? MPI_IN_PLACE : numbers_.data;
    check_mpi(MPI_Ireduce(from, numbers_.data, numbers_.count, numbers_.type, numbers_.sum, kLeader,
                          hierarchy_.gather_, &request_),
              "MPI_Ireduce");
    hierarchy_.to_cross_.push_back(this);
    hierarchy_.to_spread_.push_back(this);
  }
  ~Stages() override {
    std::erase(hierarchy_.to_cross_, this);
    std::erase(hierarchy_.to_spread_, this);
  }
  Stages(const Stages&) = delete;
  Stages& operator=(const Stages&) = delete;
  Stages(Stages&&) = delete;
  Stages& operator=(Stages&&) = delete;

  bool test() override {
    while (stage_ != Stage::done && (move() || move_first_in_line())) {
    }
    return stage_ == Stage::done;
  }

 private:
  static constexpr int kLeader = 0;
  enum class Stage { gather, cross, spread, done };

  /// To the next stage, where this one is complete and it is this one's turn.
  bool move() {
    switch (stage_) {
      case Stage::gather:
        return is_first(hierarchy_.to_cross_) && is_complete("MPI_Ireduce") && cross();
      case Stage::cross:
        return is_first(hierarchy_.to_spread_) && is_complete("MPI_Iallreduce") && spread();
      case Stage::spread:
        if (is_complete("MPI_Ibcast")) {
          stage_ = Stage::done;
          return true;
        }
        return false;
      case Stage::done:
        break;
    }
    return false;
  }

  bool cross() {
    if (hierarchy_.leads()) {
      check_mpi(MPI_Iallreduce(MPI_IN_PLACE, numbers_.data, numbers_.count, numbers_.type, numbers_.sum,
                               hierarchy_.leaders_, &request_),
                "MPI_Iallreduce");
    }
    hierarchy_.to_cross_.pop_front();
    stage_ = Stage::cross;
    return true;
  }

  bool spread() {
    check_mpi(
        MPI_Ibcast(numbers_.data, numbers_.count, numbers_.type, kLeader, hierarchy_.spread_, &request_),
        "MPI_Ibcast");
    hierarchy_.to_spread_.pop_front();
    stage_ = Stage::spread;
    return true;
  }

  /// Whoever waits for this one alone must not wait for ever: neither here, for those before it, nor another
  /// rank, for those that this rank has started and does not test.
  bool move_first_in_line() {
    return (stage_ == Stage::gather && move_first(hierarchy_.to_cross_)) || move_first(hierarchy_.to_spread_);
  }

  bool move_first(const std::deque<Stages*>& line) {
    return !line.empty() && line.front() != this && line.front()->move();
  }

  [[nodiscard]] bool is_first(const std::deque<Stages*>& line) const { return line.front() == this; }

  bool is_complete(const char* call) {
    int done = 0;
    check_mpi(MPI_Test(&request_, &done, MPI_STATUS_IGNORE), call);
    return done != 0;
  }

  NodeHierarchy& hierarchy_;
  MpiNumbers numbers_;
  Stage stage_ = Stage::gather;
  MPI_Request request_ = MPI_REQUEST_NULL;
};

NodeHierarchy::NodeHierarchy(MPI_Comm parent, int node)
    : gather_(split(parent, node)), spread_(split(parent, node)) {
  leaders_ = split(parent, rank_in(gather_) == 0 ? 0 : MPI_UNDEFINED);
}

void NodeHierarchy::close() {
  require(to_cross_.empty() && to_spread_.empty(), "a hierarchy is closed while something is under way");
  if (leads()) {
    check_mpi(MPI_Comm_free(&leaders_), "MPI_Comm_free");
  }
  check_mpi(MPI_Comm_free(&spread_), "MPI_Comm_free");
  check_mpi(MPI_Comm_free(&gather_), "MPI_Comm_free");
}

std::unique_ptr<Pending> NodeHierarchy::start(const MpiNumbers& numbers) {
  return std::make_unique<Stages>(*this, numbers);
}

std::optional<int> node_to_reduce_on(MPI_Comm parent) {
  const int rank = rank_in(parent);
  MPI_Comm node = MPI_COMM_NULL;
  check_mpi(MPI_Comm_split_type(parent, MPI_COMM_TYPE_SHARED, rank, MPI_INFO_NULL, &node),
            "MPI_Comm_split_type");
  int leader = rank;
  check_mpi(MPI_Bcast(&leader, 1, MPI_INT, 0, node), "MPI_Bcast");
  int size = 0;
  check_mpi(MPI_Comm_size(node, &size), "MPI_Comm_size");
  check_mpi(MPI_Comm_free(&node), "MPI_Comm_free");
  int largest_node = 0;
  int nodes = 0;
  const int leads = leader == rank ? 1 : 0;
  check_mpi(MPI_Allreduce(&size, &largest_node, 1, MPI_INT, MPI_MAX, parent), "MPI_Allreduce");
  check_mpi(MPI_Allreduce(&leads, &nodes, 1, MPI_INT, MPI_SUM, parent), "MPI_Allreduce");
  return largest_node > 1 && nodes > 1 ? std::optional(leader) : std::nullopt;
}

}  // namespace slicereduce
