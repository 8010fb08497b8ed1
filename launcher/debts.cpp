#include "launcher/debts.hpp"

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <c10/util/accumulate.h>

#include <utility>

#include "core/error.hpp"
#include "core/text.hpp"
#include "sampling/memory_order.hpp"

namespace slicereduce {

namespace {

std::string owed_by(int rank) { return concat("rank", rank, "."); }

/// What was owed of a parameter of this shape, or null. Later it is written to as memory of that size.
const at::Tensor* owed_of(const StateDict& owed, int rank, const ParameterShape& shape,
                          const std::string& where) {
  const std::string name = owed_by(rank) + shape.name;
  const at::Tensor* found = find_tensor(owed, name);
  if (found != nullptr &&
      (found->sizes() != at::IntArrayRef(shape.sizes) || found->scalar_type() != at::kFloat)) {
    throw Error(ErrorKind::input, concat(where, ": what is owed, '", name, "', is ", found->sizes(), " of ",
                                         found->scalar_type(), ", expected ", at::IntArrayRef(shape.sizes),
                                         " of Float: is it of another architecture?"));
  }
  return found;
}

/// Of a tensor in host memory.
std::span<std::byte> bytes_of(const at::Tensor& tensor) {
  return {static_cast<std::byte*>(tensor.mutable_data_ptr()), tensor.nbytes()};
}

/// The same numbers as a storage of their own: files hold storages.
at::Tensor alone(const at::Tensor& part) {
  return at::from_blob(part.mutable_data_ptr(), part.sizes(), [part](void*) {}, part.options());
}

/// Calls then(entry, its part of `row`) for each parameter.
template <typename Then>
void for_each_debt(const OwnDebts& own, const at::Tensor& row, const Then& then) {
  std::int64_t at = 0;
  for (const OwnDebts::Of& of : own.parameters) {
    const std::int64_t numel = c10::multiply_integers(of.sizes);
    then(of, row.narrow(0, std::exchange(at, at + numel), numel));
  }
}

}  // namespace

OwnDebts copy_debts(std::span<const at::Tensor> owed, std::span<const ParameterShape> parameters) {
  OwnDebts own;
  std::vector<at::Tensor> debts;
  std::int64_t numel = 0;
  for (std::size_t p = 0; p < owed.size(); ++p) {
    if (owed[p].defined()) {
      own.parameters.push_back({.parameter = parameters[p].name, .sizes = owed[p].sizes().vec()});
      debts.push_back(in_memory_order(owed[p]));
      numel += owed[p].numel();
    }
  }
  own.numbers = at::empty({numel}, at::kFloat);
  auto next = debts.begin();
  for_each_debt(own, own.numbers,
                [&](const OwnDebts::Of&, const at::Tensor& place) { place.copy_(*next++); });
  return own;
}

StateDict gather_debts(const OwnDebts& own, Communicator& communicator) {
  const std::int64_t ranks = communicator.rank() == 0 ? communicator.world_size() : 0;
  const at::Tensor all = at::empty({ranks, own.numbers.numel()}, at::kFloat);
  communicator.gather(bytes_of(own.numbers), bytes_of(all), 0);
  StateDict state;
  for (std::int64_t rank = 0; rank < ranks; ++rank) {
    for_each_debt(own, all[rank], [&](const OwnDebts::Of& of, const at::Tensor& theirs) {
      state.emplace_back(owed_by(static_cast<int>(rank)) + of.parameter, with_sizes(alone(theirs), of.sizes));
    });
  }
  return state;
}

bool is_owed_by(int rank, std::string_view name) { return name.starts_with(owed_by(rank)); }

at::Tensor share_of_owed(const StateDict& owed, const ParameterShape& shape, int saved_ranks, int rank,
                         int world_size, const std::string& where) {
  if (saved_ranks == world_size) {
    const at::Tensor* own = owed_of(owed, rank, shape, where);
    return own != nullptr ? own->clone() : at::Tensor();
  }
  // Means over ranks are sent: with the same mean of all debts, the same is owed together.
  at::Tensor sum;
  for (int saved = 0; saved < saved_ranks; ++saved) {
    if (const at::Tensor* theirs = owed_of(owed, saved, shape, where)) {
      sum = sum.defined() ? sum.add_(*theirs) : theirs->clone();
    }
  }
  return sum.defined() ? sum.div_(saved_ranks) : sum;
}

}  // namespace slicereduce
