#include "launcher/checkpoint_writer.hpp"

#include <ATen/core/Tensor.h>

#include <memory>
#include <utility>

#include "core/error.hpp"
#include "core/profile_range.hpp"
#include "core/text.hpp"
#include "core/timeline.hpp"
#include "launcher/message_of.hpp"

namespace slicereduce {

namespace {

void copy_tensors(StateDict& state) {
  for (auto& [name, tensor] : state) {
    tensor = tensor.is_cpu() ? tensor.clone() : tensor.cpu();
  }
}

/// The run goes on with its own tensors.
void detach_from_run(Checkpoint& content) {
  for (StateDict* state : {&content.weights, &content.momentum, &content.statistics, &content.recalibrated,
                           &content.channels, &content.slices, &content.factors}) {
    copy_tensors(*state);
  }
}

}  // namespace

CheckpointWriter::CheckpointWriter(CheckpointFolder folder, std::int64_t most_failures,
                                   Communicator& communicator, Log log)
    : folder_(std::move(folder)),
      most_failures_(most_failures),
      communicator_(communicator),
      log_(std::move(log)) {}

CheckpointWriter::~CheckpointWriter() { wait(); }

void CheckpointWriter::wait() const {
  if (under_way_.valid()) {
    under_way_.wait();
  }
}

void CheckpointWriter::take(Checkpoint content, OwnDebts debts) {
  settle();
  if (failures_ >= most_failures_) {
    throw Error(ErrorKind::io,
                concat(failures_,
                       " checkpoints in a row could not be written (--checkpoint-failures), the last one: ",
                       failure_));
  }
  if (leads()) {
    detach_from_run(content);
  }
  taken_ = std::make_shared<Taken>(std::move(content), std::move(debts));
}

void CheckpointWriter::start(bool is_best) {
  // The future keeps what is captured until the next checkpoint: so it is taken out, and gone once written.
  under_way_ = std::async(std::launch::async, [this, is_best, captured = std::move(taken_)]() mutable {
    name_this_thread("checkpoint");
    const ProfileRange range("write a checkpoint");
    const auto own = std::move(captured);
    try {
      own->content.owed = gather_debts(own->debts, communicator_);
    } catch (const std::exception& problem) {  // now: the others wait, until their time-out
      log_.error(concat("gathering what ranks owe, for a checkpoint: ", message_of(problem)));
      throw;
    }
    own->debts = {};
    return leads() ? save(own->content, is_best) : "";
  });
}

std::string CheckpointWriter::save(const Checkpoint& content, bool is_best) const {
  std::filesystem::path path;
  try {
    path = folder_.save(content);
    log_.detail(concat("checkpoint=", path.string()));
  } catch (const std::exception& problem) {
    const std::string why = message_of(problem);
    log_.warn(concat("no checkpoint of step ", content.manifest.step, ": ", why,
                     "; those before are as they were"));
    return why;
  }
  if (is_best) {
    try {
      folder_.make_best(path);
    } catch (const std::exception& problem) {  // the checkpoint itself is whole
      log_.warn(concat("best.ckpt is still the one of before: ", message_of(problem)));
    }
  }
  return "";
}

void CheckpointWriter::finish() {
  settle();
  if (!failure_.empty()) {
    throw Error(ErrorKind::io, concat("the last checkpoint could not be written: ", failure_));
  }
}

void CheckpointWriter::settle() {
  if (!under_way_.valid()) {
    return;
  }
  failure_ = under_way_.get();
  failures_ = failure_.empty() ? 0 : failures_ + 1;
}

}  // namespace slicereduce
