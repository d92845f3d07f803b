/* main.c: the program. What each command does is in service/cli.h. */
#include "service/cli.h"

int main(int argc, char **argv)
{
	return cli_main(argc, argv);
}
