/* The same as Palisade's side of benches/rules.rs, in plain C. Built and run by rules.rs; reads the paths from the file
 * it is given, one a line, and prints nanoseconds. */
#define _GNU_SOURCE
#include "beside/ruleset.h"

static void enforce(char **paths, size_t count)
{
	int ruleset = make_ruleset(paths, count);

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		fail("prctl");
	if (syscall(RESTRICT_SELF, ruleset, 0))
		fail("landlock_restrict_self");
	close(ruleset);
}

int main(int argc, char **argv)
{
	struct timespec begin, end;
	char **paths;
	size_t count;

	if (argc != 2)
		return 2;
	paths = read_paths(argv[1], &count);

	clock_gettime(CLOCK_MONOTONIC, &begin);
	enforce(paths, count);
	clock_gettime(CLOCK_MONOTONIC, &end);
	print_nanoseconds(begin, end);
	return 0;
}
