#include "comm/mpi_communicator.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <utility>

#include "core/choice.hpp"
#include "core/error.hpp"
#include "core/text.hpp"

namespace slicereduce {
namespace {

// MPI has neither bf16 nor fp16: its own 16-bit integers carry the bits, these operations give them their
// meaning.
template <WireType type>
// NOLINTNEXTLINE(readability-non-const-parameter): the signature is MPI's
void sum_operation(void* in, void* inout, int* count, MPI_Datatype* /*datatype*/) {
  const std::size_t bytes = static_cast<std::size_t>(*count) * wire_size(type);
  add_into({static_cast<std::byte*>(inout), bytes}, {static_cast<const std::byte*>(in), bytes}, type);
}

MPI_Comm duplicate(MPI_Comm parent) {
  MPI_Comm copy = MPI_COMM_NULL;
  check_mpi(MPI_Comm_dup(parent, &copy), "MPI_Comm_dup");
  check_mpi(MPI_Comm_set_errhandler(copy, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
  return copy;
}

void require_thread_multiple() {
  int provided = MPI_THREAD_SINGLE;
  check_mpi(MPI_Query_thread(&provided), "MPI_Query_thread");
  if (provided < MPI_THREAD_MULTIPLE) {
    throw Error(ErrorKind::mpi, concat("MPI was initialized at thread level ", provided,
                                       ", but reductions run beside "
                                       "the computation and need MPI_THREAD_MULTIPLE (",
                                       MPI_THREAD_MULTIPLE, "): use an MPI library that was built with it"));
  }
}

/// [0, numel) in pieces of at most max_count: each_piece(offset, count).
template <typename EachPiece>
void split(std::size_t numel, std::size_t max_count, EachPiece each_piece) {
  for (std::size_t offset = 0; offset < numel; offset += max_count) {
    each_piece(offset, static_cast<int>(std::min(max_count, numel - offset)));
  }
}

/// Several that are one.
class AllOf final : public Pending {
 public:
  void add(std::unique_ptr<Pending> pending) { parts_.push_back(std::move(pending)); }

  bool test() override {
    std::erase_if(parts_, [](const auto& part) { return part->test(); });
    return parts_.empty();
  }

 private:
  std::vector<std::unique_ptr<Pending>> parts_;
};

class MpiPending final : public Pending {
 public:
  /// Room for `requests`, since MPI may hold on to a request's address while it starts.
  explicit MpiPending(std::size_t requests) { requests_.reserve(requests); }

  MPI_Request* add() { return &requests_.emplace_back(MPI_REQUEST_NULL); }

  bool test() override {
    if (requests_.empty()) {
      return true;
    }
    int done = 0;
    std::vector<MPI_Status> statuses(requests_.size());
    const int code =
        MPI_Testall(static_cast<int>(requests_.size()), requests_.data(), &done, statuses.data());
    if (code == MPI_ERR_IN_STATUS) {
      for (const auto& status : statuses) {
        // The others of a failed set may merely not be done.
        check_mpi(status.MPI_ERROR == MPI_ERR_PENDING ? MPI_SUCCESS : status.MPI_ERROR, "MPI_Iallreduce");
      }
    }
    check_mpi(code, "MPI_Testall");
    if (done != 0) {
      requests_.clear();
    }
    return done != 0;
  }

 private:
  std::vector<MPI_Request> requests_;
};

}  // namespace

AllreduceAlgorithm parse_allreduce_algorithm(std::string_view name) {
  return parse_choice<AllreduceAlgorithm>(name, "--algorithm",
                                          {{"ring", AllreduceAlgorithm::ring},
                                           {"binomial", AllreduceAlgorithm::binomial},
                                           {"rabenseifner", AllreduceAlgorithm::rabenseifner},
                                           {"recursive_doubling", AllreduceAlgorithm::recursive_doubling},
                                           {"library", AllreduceAlgorithm::library}});
}

namespace {

constexpr const char* kAllreduceVariable = "OMPI_MCA_coll_libnbc_iallreduce_algorithm";

void set_variable(const char* name, const std::string& value) {
  if (setenv(name, value.c_str(), /*overwrite=*/1) != 0) {
    throw Error(ErrorKind::mpi, concat("can't set ", name, " in the environment: out of memory"));
  }
}

void prefer(const char* variable, const std::string& value) {
  if (std::getenv(variable) == nullptr) {
    set_variable(variable, value);
  }
}

/// The enumeration counts as Open MPI does.
std::string number_of(AllreduceAlgorithm algorithm) { return std::to_string(static_cast<int>(algorithm)); }

}  // namespace

void choose_allreduce(AllreduceAlgorithm algorithm) {
  set_variable(kAllreduceVariable, number_of(algorithm));
}

void prefer_measured_algorithms() {
  prefer(kAllreduceVariable, number_of(AllreduceAlgorithm::ring));
  constexpr const char* kBinomial = "2";
  prefer("OMPI_MCA_coll_libnbc_ireduce_algorithm", kBinomial);
  prefer("OMPI_MCA_coll_libnbc_ibcast_algorithm", kBinomial);
}

/// How MPI sees the numbers of a reduction.
struct MpiCommunicator::Element {
  MPI_Datatype datatype;
  std::size_t size;
  MPI_Op operation;
};

MpiCommunicator::MpiCommunicator(MPI_Comm parent, std::optional<int> node, int max_count)
    : max_count_(static_cast<std::size_t>(max_count)) {
  require(max_count >= 1, "MPI calls of no element");
  require_thread_multiple();
  if (node) {
    hierarchy_.emplace(parent, *node);
  }
  constexpr int kOneNode = 0;
  tree_.emplace(parent, kOneNode);
  reductions_ = duplicate(parent);
  control_ = duplicate(parent);
  check_mpi(MPI_Comm_rank(control_, &rank_), "MPI_Comm_rank");
  check_mpi(MPI_Comm_size(control_, &world_size_), "MPI_Comm_size");
  constexpr int kCommutes = 1;
  check_mpi(MPI_Op_create(sum_operation<WireType::bf16>, kCommutes, &sum_bf16_), "MPI_Op_create");
  check_mpi(MPI_Op_create(sum_operation<WireType::fp16>, kCommutes, &sum_fp16_), "MPI_Op_create");
}

void MpiCommunicator::close() {
  check_mpi(MPI_Op_free(&sum_bf16_), "MPI_Op_free");
  check_mpi(MPI_Op_free(&sum_fp16_), "MPI_Op_free");
  check_mpi(MPI_Comm_free(&control_), "MPI_Comm_free");
  check_mpi(MPI_Comm_free(&reductions_), "MPI_Comm_free");
  tree_->close();
  if (hierarchy_) {
    hierarchy_->close();
  }
}

MpiCommunicator::Element MpiCommunicator::wire_element(WireType type) const {
  switch (type) {
    case WireType::fp32:
      return {MPI_FLOAT, sizeof(float), MPI_SUM};
    case WireType::bf16:
      return {MPI_UINT16_T, sizeof(std::uint16_t), sum_bf16_};
    case WireType::fp16:
      break;
  }
  return {MPI_UINT16_T, sizeof(std::uint16_t), sum_fp16_};
}

std::unique_ptr<Pending> MpiCommunicator::start_allreduce(WireBuffer buffer) {
  require(buffer.bytes.size() % wire_size(buffer.type) == 0, "allreduce: a part of a number at the end");
  return start(buffer.bytes, wire_element(buffer.type));
}

std::unique_ptr<Pending> MpiCommunicator::start_allreduce_min(std::span<std::uint64_t> values) {
  return start_in_levels(*tree_, std::as_writable_bytes(values),
                         {MPI_UINT64_T, sizeof(std::uint64_t), MPI_MIN});
}

std::unique_ptr<Pending> MpiCommunicator::start_in_levels(NodeHierarchy& levels, std::span<std::byte> bytes,
                                                          const Element& element) const {
  auto parts = std::make_unique<AllOf>();
  split(bytes.size() / element.size, max_count_, [&](std::size_t offset, int count) {
    parts->add(levels.start({.data = bytes.data() + offset * element.size,
                             .count = count,
                             .type = element.datatype,
                             .sum = element.operation}));
  });
  return parts;
}

std::unique_ptr<Pending> MpiCommunicator::start(std::span<std::byte> bytes, const Element& element) {
  if (hierarchy_ && in_levels_) {
    return start_in_levels(*hierarchy_, bytes, element);
  }
  const std::size_t numel = bytes.size() / element.size;
  auto pending = std::make_unique<MpiPending>((numel + max_count_ - 1) / max_count_);
  split(numel, max_count_, [&](std::size_t offset, int count) {
    check_mpi(MPI_Iallreduce(MPI_IN_PLACE, bytes.data() + offset * element.size, count, element.datatype,
                             element.operation, reductions_, pending->add()),
              "MPI_Iallreduce");
  });
  return pending;
}

template <typename Start>
void MpiCommunicator::complete(const char* call, const Start& start) const {
  using Clock = std::chrono::steady_clock;
  // Most are over at once; for the others a pause leaves the core to those who are waited for.
  constexpr int kTestsWithoutPause = 1000;
  constexpr std::chrono::microseconds kPause{50};
  const Wait wait(*this);
  const auto started = Clock::now();
  MPI_Request request = MPI_REQUEST_NULL;
  check_mpi(start(&request), call);
  for (int tests = 0;; ++tests) {
    int done = 0;
    check_mpi(MPI_Test(&request, &done, MPI_STATUS_IGNORE), call);
    if (done != 0) {
      return;
    }
    if (timeout_ && Clock::now() - started > *timeout_) {
      give_up(concat(call, " is not done after ", std::chrono::duration<double>(*timeout_).count(),
                     " s: a rank has stopped or is very slow, or a link is down (see --timeout)"));
    }
    if (tests < kTestsWithoutPause) {
      std::this_thread::yield();
    } else {
      std::this_thread::sleep_for(kPause);
    }
  }
}

void MpiCommunicator::broadcast(std::span<std::byte> bytes, int root) {
  split(bytes.size(), max_count_, [&](std::size_t offset, int count) {
    complete("MPI_Ibcast", [&](MPI_Request* request) {
      return MPI_Ibcast(bytes.data() + offset, count, MPI_BYTE, root, control_, request);
    });
  });
}

std::vector<std::byte> MpiCommunicator::allgather(std::span<const std::byte> bytes) {
  std::vector<std::byte> all(bytes.size() * static_cast<std::size_t>(world_size_));
  gather_in_pieces(bytes, all, [&](const std::byte* own, int count, std::byte* gathered) {
    complete("MPI_Iallgather", [&](MPI_Request* request) {
      return MPI_Iallgather(own, count, MPI_BYTE, gathered, count, MPI_BYTE, control_, request);
    });
  });
  return all;
}

void MpiCommunicator::gather(std::span<const std::byte> bytes, std::span<std::byte> all, int root) {
  const bool here = rank_ == root;
  require(!here || all.size() == bytes.size() * static_cast<std::size_t>(world_size_),
          "gather: the root has no room for all ranks' bytes");
  const auto gathered = here ? all : std::span<std::byte>();
  gather_in_pieces(bytes, gathered, [&](const std::byte* own, int count, std::byte* piece) {
    complete("MPI_Igather", [&](MPI_Request* request) {
      return MPI_Igather(own, count, MPI_BYTE, piece, count, MPI_BYTE, root, control_, request);
    });
  });
}

template <typename Gather>
void MpiCommunicator::gather_in_pieces(std::span<const std::byte> bytes, std::span<std::byte> all,
                                       const Gather& gather) const {
  const auto ranks = static_cast<std::size_t>(world_size_);
  // Counts stay within int for all ranks together: implementations have added them up in int.
  const std::size_t most = std::max<std::size_t>(max_count_ / ranks, 1);
  split(bytes.size(), most, [&](std::size_t offset, int count) {
    const auto size = static_cast<std::size_t>(count);
    if (size == bytes.size()) {
      gather(bytes.data(), count, all.data());
      return;
    }
    std::vector<std::byte> piece(all.empty() ? 0 : size * ranks);
    gather(bytes.data() + offset, count, piece.data());
    for (std::size_t rank = 0; !all.empty() && rank < ranks; ++rank) {
      std::memcpy(all.data() + rank * bytes.size() + offset, piece.data() + rank * size, size);
    }
  });
}

void MpiCommunicator::allreduce_sum(std::span<double> values) {
  // Summed at one place and sent from there: MPI only advises that MPI_Allreduce give all ranks the same
  // bits.
  const bool is_root = rank_ == 0;
  split(values.size(), max_count_, [&](std::size_t offset, int count) {
    double* piece = values.data() + offset;
    complete("MPI_Ireduce", [&](MPI_Request* request) {
      return MPI_Ireduce(is_root ? MPI_IN_PLACE : piece, is_root ? piece : nullptr, count, MPI_DOUBLE,
                         MPI_SUM, 0, control_, request);
    });
    complete("MPI_Ibcast", [&](MPI_Request* request) {
      return MPI_Ibcast(piece, count, MPI_DOUBLE, 0, control_, request);
    });
  });
}

void MpiCommunicator::give_up(const std::string& why) const {
  if (on_give_up_) {
    on_give_up_(why);
  }
  Communicator::give_up(why);
}

void MpiCommunicator::barrier() {
  complete("MPI_Ibarrier", [&](MPI_Request* request) { return MPI_Ibarrier(control_, request); });
}

}  // namespace slicereduce
