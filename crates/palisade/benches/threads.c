/* The same as Palisade's side of benches/threads.rs, in C with libpsx, as go-landlock does it: psx_syscall has every
 * thread make a call, by a signal. Built and run by threads.rs, which says what the arguments are; prints nanoseconds. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/psx_syscall.h>

#include "beside/ruleset.h"

#define REFUSED "/etc/passwd"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t one_more = PTHREAD_COND_INITIALIZER, on = PTHREAD_COND_INITIALIZER;
static long started;
static atomic_bool over;
static bool busy;

static bool can_open(const char *file)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static void *run(void *unused)
{
	pthread_mutex_lock(&lock);
	started++;
	pthread_cond_signal(&one_more);
	while (!busy && !over)
		pthread_cond_wait(&on, &lock);
	pthread_mutex_unlock(&lock);
	while (!over)
		sched_yield();
	if (can_open(REFUSED) || errno != EACCES)
		fail("a thread is not confined: " REFUSED);
	return unused;
}

/* Every call with its own check: by itself psx_syscall tells only of the thread that calls it, and the others are
 * looked at afterwards. */
static void enforce(char **paths, size_t count)
{
	int ruleset = make_ruleset(paths, count);

	if (psx_syscall6(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0))
		fail("prctl");
	if (psx_syscall3(RESTRICT_SELF, ruleset, 0, 0))
		fail("landlock_restrict_self");
	close(ruleset);
}

int main(int argc, char **argv)
{
	struct timespec begin, end;
	pthread_t *threads;
	char **paths;
	size_t count;
	long others;

	if (argc != 5)
		return 2;
	paths = read_paths(argv[2], &count);
	others = atol(argv[3]);
	busy = !strcmp(argv[4], "busy");
	if (!can_open(REFUSED))
		fail(REFUSED);
	threads = calloc(others, sizeof(*threads));
	if (!threads)
		fail("memory");
	for (long i = 0; i < others; i++) {
		errno = pthread_create(&threads[i], NULL, run, NULL);
		if (errno)
			fail("pthread_create");
	}
	pthread_mutex_lock(&lock);
	while (started < others)
		pthread_cond_wait(&one_more, &lock);
	pthread_mutex_unlock(&lock);

	clock_gettime(CLOCK_MONOTONIC, &begin);
	enforce(paths, count);
	clock_gettime(CLOCK_MONOTONIC, &end);

	pthread_mutex_lock(&lock);
	over = true;
	pthread_cond_broadcast(&on);
	pthread_mutex_unlock(&lock);
	for (long i = 0; i < others; i++)
		pthread_join(threads[i], NULL);
	if (can_open(REFUSED) || errno != EACCES)
		fail("the main thread is not confined: " REFUSED);
	print_nanoseconds(begin, end);
	return 0;
}
