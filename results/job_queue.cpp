#include "results/job_queue.h"

#include <array>

#include "core/base/error.h"

namespace mla {
namespace {

constexpr std::array kStatusNames{"pending", "running", "done", "failed"};

JobStatus status_of(const std::string& name) {
  for (std::size_t i = 0; i < kStatusNames.size(); ++i)
    if (name == kStatusNames[i]) return static_cast<JobStatus>(i);
  fail<StoreError>("store", "wanted a job's status, got '", name, "'; the file is damaged");
}

}  // namespace

const char* to_string(JobStatus status) { return kStatusNames[static_cast<std::size_t>(status)]; }

JobQueue::JobQueue(Store& store, std::string owner, int64_t lease_seconds) : store_(store), owner_(std::move(owner)), lease_seconds_(lease_seconds) {}

void JobQueue::set_jobs(const std::string& sweep, const std::vector<Job>& jobs) {
  Database& database = store_.database();
  Transaction transaction(database);
  Statement(database, "DELETE FROM sweep_job WHERE sweep = ?1").bind(1, sweep).run();
  Statement insert(database, "INSERT INTO job (key, label, flags, status, attempts) VALUES (?1, ?2, ?3, 'pending', 0) ON CONFLICT (key) DO UPDATE SET label = excluded.label, flags = excluded.flags");
  Statement place(database, "INSERT OR IGNORE INTO sweep_job (sweep, position, key) VALUES (?1, ?2, ?3)");
  int64_t position = 0;
  for (const Job& job : jobs) {
    insert.bind(1, job.key).bind(2, job.label).bind(3, job.flags.dump()).run();
    place.bind(1, sweep).bind(2, position++).bind(3, job.key).run();
  }
  transaction.commit();
}

std::optional<Job> JobQueue::claim(const std::string& sweep, int64_t now) {
  Database& database = store_.database();
  Transaction transaction(database);
  std::optional<Job> job;
  {
    Statement read(database,
                   "SELECT j.key, j.label, j.flags FROM sweep_job s JOIN job j ON j.key = s.key "
                   "WHERE s.sweep = ?1 AND (j.status = 'pending' OR (j.status = 'running' AND j.lease_until < ?2)) ORDER BY s.position LIMIT 1");
    if (read.bind(1, sweep).bind(2, now).step()) job = Job{read.text(0), read.text(1), Json::parse(read.text(2))};
  }
  if (!job) return std::nullopt;
  Statement update(database, "UPDATE job SET status = 'running', owner = ?2, lease_until = ?3, attempts = attempts + 1 WHERE key = ?1");
  update.bind(1, job->key).bind(2, owner_).bind(3, now + lease_seconds_).run();
  transaction.commit();
  return job;
}

void JobQueue::renew(int64_t now) {
  Transaction transaction(store_.database());
  Statement(store_.database(), "UPDATE job SET lease_until = ?2 WHERE owner = ?1 AND status = 'running'").bind(1, owner_).bind(2, now + lease_seconds_).run();
  transaction.commit();
}

bool JobQueue::finish(const std::string& key, int64_t run_id, double seconds) { return end(key, JobStatus::done, run_id, std::nullopt, seconds); }
bool JobQueue::fail_job(const std::string& key, const std::string& error, double seconds) { return end(key, JobStatus::failed, std::nullopt, error, seconds); }
bool JobQueue::release(const std::string& key) { return end(key, JobStatus::pending, std::nullopt, std::nullopt, 0); }

bool JobQueue::end(const std::string& key, JobStatus status, std::optional<int64_t> run_id, const std::optional<std::string>& error, double seconds) {
  Database& database = store_.database();
  Transaction transaction(database);
  {
    Statement read(database, "SELECT 1 FROM job WHERE key = ?1 AND status = 'running' AND owner = ?2");
    if (!read.bind(1, key).bind(2, owner_).step()) return false;
  }
  Statement update(database, "UPDATE job SET status = ?2, owner = NULL, lease_until = NULL, run_id = ?3, error = ?4, seconds = ?5 WHERE key = ?1");
  update.bind(1, key).bind(2, std::string_view(to_string(status))).bind(3, run_id).bind(4, error).bind(5, seconds).run();
  transaction.commit();
  return true;
}

int64_t JobQueue::retry_failed(const std::string& sweep) {
  const int64_t failed = counts(sweep).failed;
  Transaction transaction(store_.database());
  Statement(store_.database(), "UPDATE job SET status = 'pending', error = NULL WHERE status = 'failed' AND key IN (SELECT key FROM sweep_job WHERE sweep = ?1)").bind(1, sweep).run();
  transaction.commit();
  return failed;
}

JobCounts JobQueue::counts(const std::string& sweep) const {
  Statement read(store_.database(), "SELECT j.status, count(*) FROM sweep_job s JOIN job j ON j.key = s.key WHERE s.sweep = ?1 GROUP BY j.status");
  read.bind(1, sweep);
  JobCounts counts;
  const std::array<int64_t*, 4> of{&counts.pending, &counts.running, &counts.done, &counts.failed};
  while (read.step()) *of[static_cast<std::size_t>(status_of(read.text(0)))] = read.integer(1);
  return counts;
}

std::vector<JobState> JobQueue::states(const std::string& sweep, std::optional<JobStatus> only) const {
  Statement read(store_.database(),
                 "SELECT j.key, j.label, j.flags, j.status, coalesce(j.owner, ''), coalesce(j.error, ''), j.attempts, coalesce(j.lease_until, 0), j.run_id, "
                 "coalesce(j.seconds, 0.0) FROM sweep_job s JOIN job j ON j.key = s.key WHERE s.sweep = ?1 AND (?2 IS NULL OR j.status = ?2) ORDER BY s.position");
  read.bind(1, sweep);
  if (only) read.bind(2, std::string_view(to_string(*only)));
  std::vector<JobState> states;
  while (read.step()) {
    JobState state{{read.text(0), read.text(1), Json::parse(read.text(2))}, status_of(read.text(3)), read.text(4), read.text(5), read.integer(6), read.integer(7), {}, read.real(9)};
    if (!read.is_null(8)) state.run_id = read.integer(8);
    states.push_back(std::move(state));
  }
  return states;
}

std::map<std::string, int64_t> done_jobs(const Store& store, const std::vector<std::string>& keys) {
  {
    Statement exists(store.database(), "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'job'");
    if (!exists.step()) return {};
  }
  Statement read(store.database(), "SELECT run_id FROM job WHERE key = ?1 AND status = 'done'");
  std::map<std::string, int64_t> runs;
  for (const std::string& key : keys) {
    if (read.bind(1, key).step()) runs[key] = read.integer(0);
    read.run();
  }
  return runs;
}

}  // namespace mla
