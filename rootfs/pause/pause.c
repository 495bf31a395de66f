// pause holds the namespaces of a pod: it waits to be ended, and reaps what is left to it. C, because each pod has one: a Go program
// would cost 1.5 MB of memory per pod.
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef VERSION
#define VERSION "dev"
#endif

static void end(int signal) {
	(void)signal;
	_exit(0);
}

static void reap(int signal) {
	(void)signal;
	while (waitpid(-1, NULL, WNOHANG) > 0) {
	}
}

int main(int argc, char **argv) {
	if (argc > 1 && strcmp(argv[1], "-v") == 0) {
		return puts("pause " VERSION) < 0;
	}

	struct sigaction act = {.sa_handler = end};
	struct sigaction child = {.sa_handler = reap, .sa_flags = SA_NOCLDSTOP};

	if (sigaction(SIGINT, &act, NULL) || sigaction(SIGTERM, &act, NULL) || sigaction(SIGCHLD, &child, NULL)) {
		perror("pause: sigaction");
		return 1;
	}

	for (;;) {
		pause();
	}
}
