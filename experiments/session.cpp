#include "experiments/session.h"

#include <ATen/DeviceAccelerator.h>
#include <ATen/Parallel.h>

#include "core/base/error.h"
#include "core/base/launch.h"
#include "core/base/process.h"
#include "core/base/progress.h"
#include "core/base/sha256.h"
#include "experiments/build_info.h"
#include "experiments/data_root.h"

namespace mla {

Json conversion_of(const std::filesystem::path& path) {
  const std::filesystem::path file = path / "mla_conversion.json";
  return std::filesystem::is_regular_file(file) ? read_json_file(file) : Json();
}

std::string display_name(const std::filesystem::path& path) {
  const std::filesystem::path full = std::filesystem::absolute(path).lexically_normal();
  const std::filesystem::path last = full.has_filename() ? full.filename() : full.parent_path().filename();
  return last.extension() == ".gguf" ? last.stem().string() : last.string();
}

namespace {

// Of several processes on one machine each has a device of its own.
at::Device own_device(at::Device device) {
  const Launch launch = read_launch();
  if (!device.is_cuda() || !launch.many()) return device;
  if (launch.local_rank >= at::accelerator::deviceCount())
    fail<ResourceError>("device", "wanted a CUDA device for local rank ", launch.local_rank, ", got ", static_cast<int>(at::accelerator::deviceCount()), " devices; start fewer processes here");
  const auto index = static_cast<c10::DeviceIndex>(launch.local_rank);
  at::accelerator::setDeviceIndex(index);
  return at::Device(at::kCUDA, index);
}

}  // namespace

LoadedModel load_model(const ModelFlags& flags) {
  OpenedModel opened = open_model(flags);
  opened.model.decoder = opened.layers.load();
  return std::move(opened.model);
}

OpenedModel open_model(const ModelFlags& flags) {
  if (flags.threads > 0) at::set_num_threads(flags.threads);
  const at::ScalarType dtype = parse_dtype(flags.dtype);
  const at::Device device = own_device(parse_device(flags.device));
  if (flags.deterministic) compute_deterministically(device);
  const std::filesystem::path path = find_model(flags.model);
  status("Loading", path.string() + " (" + dtype_name(dtype) + ", " + device.str() + ")");
  LayerStream layers = open_layers(Checkpoint::open(path), device, dtype);
  LoadedModel model;
  model.name = display_name(path);
  model.path = flags.model;
  model.conversion = conversion_of(path);
  model.tokenizer = Tokenizer::load(path);
  model.decoder = layers.frame();
  model.dtype = dtype_name(dtype);
  model.device = device.is_cuda() ? "cuda" : "cpu";
  model.threads = at::get_num_threads();
  model.deterministic = device.is_cpu() || flags.deterministic;
  return {std::move(model), std::move(layers)};
}

std::vector<InputHash> model_inputs(const LoadedModel& model) {
  return {{"checkpoint", model.path, sha256_of_path(model.path)}, {"tokenizer", model.path, model.tokenizer->sha256()}};
}

RunRecord program_record(const std::vector<std::string>& argv) {
  RunRecord record;
  record.git_commit = build_info().git_commit;
  record.git_dirty = build_info().git_dirty;
  record.argv = argv;
  record.host = host_name();
  record.library_versions = library_versions();
  record.started_at = utc_now();
  return record;
}

RunRecord new_record(const LoadedModel& model, const std::vector<std::string>& argv) {
  RunRecord record = program_record(argv);
  record.model = model.name;
  record.architecture = model.decoder.config.architecture;
  record.inputs = model_inputs(model);
  record.dtype = model.dtype;
  record.device = model.device;
  record.threads = model.threads;
  if (!model.deterministic) record.config["deterministic"] = false;  // only then: rows made before keep their identity
  return record;
}

StageTimer::StageTimer(std::vector<StageTime>& times, std::string stage)
    : times_(times), stage_(std::move(stage)), wall_(wall_seconds()), cpu_(cpu_seconds()) {}
StageTimer::~StageTimer() { add_stage_time(times_, {stage_, wall_seconds() - wall_, cpu_seconds() - cpu_}); }

void add_stage_time(std::vector<StageTime>& times, const StageTime& more) {
  for (StageTime& known : times) {
    if (known.stage != more.stage) continue;
    known.seconds += more.seconds;
    known.cpu_seconds += more.cpu_seconds;
    return;
  }
  times.push_back(more);
}

}  // namespace mla
