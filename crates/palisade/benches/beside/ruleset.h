/* What the C side of every benchmark does: the version query, a ruleset that handles all that the kernel has, and one
 * rule for each path of a list. Its own definitions, so that old kernel headers do. */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define CREATE_RULESET 444
#define ADD_RULE 445
#define RESTRICT_SELF 446
#define VERSION_QUERY 1
#define RULE_PATH_BENEATH 1

#define READ_FILE (1ULL << 2)
#define READ_DIR (1ULL << 3)

struct ruleset_attr {
	uint64_t handled_access_fs, handled_access_net, scoped;
	uint64_t quiet_access_fs, quiet_access_net, quiet_scoped;
};

struct path_beneath_attr {
	uint64_t allowed_access;
	int32_t parent_fd;
} __attribute__((packed));

static void fail(const char *what)
{
	fprintf(stderr, "C: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int make_ruleset(char **paths, size_t count)
{
	static const struct {
		uint64_t fs, net, scoped;
		size_t size;
	} of_abi[] = {
		{ 0x01fff, 0x0, 0, 8 },  { 0x03fff, 0x0, 0, 8 },  { 0x07fff, 0x0, 0, 8 },  { 0x07fff, 0x3, 0, 16 },
		{ 0x0ffff, 0x3, 0, 16 }, { 0x0ffff, 0x3, 3, 24 }, { 0x0ffff, 0x3, 3, 24 }, { 0x0ffff, 0x3, 3, 24 },
		{ 0x1ffff, 0x3, 3, 24 }, { 0x1ffff, 0xf, 3, 48 },
	};
	const long known = sizeof(of_abi) / sizeof(of_abi[0]);
	struct ruleset_attr attr = { 0 };
	long abi;
	int ruleset;

	abi = syscall(CREATE_RULESET, NULL, 0, VERSION_QUERY);
	if (abi < 1)
		fail("landlock_create_ruleset");
	if (abi > known)
		abi = known;
	attr.handled_access_fs = of_abi[abi - 1].fs;
	attr.handled_access_net = of_abi[abi - 1].net;
	attr.scoped = of_abi[abi - 1].scoped;
	ruleset = syscall(CREATE_RULESET, &attr, of_abi[abi - 1].size, 0);
	if (ruleset < 0)
		fail("landlock_create_ruleset");
	for (size_t i = 0; i < count; i++) {
		struct path_beneath_attr rule = { .allowed_access = READ_FILE | READ_DIR };

		rule.parent_fd = open(paths[i], O_PATH | O_CLOEXEC);
		if (rule.parent_fd < 0)
			fail(paths[i]);
		if (syscall(ADD_RULE, ruleset, RULE_PATH_BENEATH, &rule, 0))
			fail(paths[i]);
		close(rule.parent_fd);
	}
	return ruleset;
}

/* The paths in a file, one a line. */
static char **read_paths(const char *file, size_t *count)
{
	char **paths = NULL, *line = NULL;
	size_t room = 0, size = 0;
	ssize_t length;
	FILE *list = fopen(file, "r");

	if (!list)
		fail("the list of paths");
	*count = 0;
	while ((length = getline(&line, &size, list)) > 0) {
		if (line[length - 1] == '\n')
			line[length - 1] = 0;
		if (*count == room) {
			room = room ? 2 * room : 16;
			paths = realloc(paths, room * sizeof(*paths));
		}
		if (!paths || !(paths[(*count)++] = strdup(line)))
			fail("memory");
	}
	fclose(list);
	return paths;
}

static void print_nanoseconds(struct timespec begin, struct timespec end)
{
	printf("%lld\n", (end.tv_sec - begin.tv_sec) * 1000000000LL + (end.tv_nsec - begin.tv_nsec));
}
