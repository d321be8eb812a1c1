/* The worker to measure by: an echo on libgearman.
 *
 *     cc -O2 echo.c -lgearman -o echo && ./echo 127.0.0.1 4730 f
 */
#include <libgearman/gearman.h>
#include <stdlib.h>
#include <string.h>

static void *echo(gearman_job_st *job, void *context, size_t *size,
                  gearman_return_t *result) {
    (void)context;
    *size = gearman_job_workload_size(job);
    char *answer = malloc(*size ? *size : 1);
    memcpy(answer, gearman_job_workload(job), *size);
    *result = GEARMAN_SUCCESS;
    return answer;
}

int main(int count, char **args) {
    if (count != 4) {
        return 2;
    }
    gearman_worker_st worker;
    gearman_worker_create(&worker);
    gearman_worker_add_server(&worker, args[1], (in_port_t)atoi(args[2]));
    gearman_worker_add_function(&worker, args[3], 0, echo, NULL);
    while (gearman_worker_work(&worker) == GEARMAN_SUCCESS) {
    }
    return 1;
}
