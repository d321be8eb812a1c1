/* Clients that each wait for the answer to their job, then ask again: as
 * little work as it can be, so that the worker is measured, not they.
 *
 *     cc -O2 clients.c -o clients && ./clients 4730 f payload 10000 50
 *
 * prints the answers a second to 10,000 jobs by 50 clients. What comes back is
 * also put into a file, if one is named at the end.
 */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

enum { HEADER = 12, SUBMIT_JOB = 7, WORK_COMPLETE = 13 };

struct client {
    int sock;
    size_t have; /* of the header */
    size_t skip; /* of the data */
    unsigned char header[HEADER];
};

static unsigned char packet[1024];
static size_t size;
static FILE *record;

static unsigned field(const unsigned char *at) {
    return (unsigned)at[0] << 24 | at[1] << 16 | at[2] << 8 | at[3];
}

static void make_packet(const char *function, const char *workload) {
    /* Between the two is the unique, which is empty. */
    size_t before = strlen(function) + 2, data = before + strlen(workload);
    size = HEADER + data;
    if (size > sizeof packet) {
        exit(2);
    }
    memcpy(packet, "\0REQ\0\0\0", 7);
    packet[7] = SUBMIT_JOB;
    packet[10] = data >> 8;
    packet[11] = data & 255;
    memcpy(packet + HEADER, function, strlen(function));
    memcpy(packet + HEADER + before, workload, strlen(workload));
}

static void ask(const struct client *client) {
    if (write(client->sock, packet, size) != (ssize_t)size) {
        exit(1);
    }
}

/* How many answers have come. */
static int hear(struct client *client) {
    unsigned char in[65536];
    ssize_t left = read(client->sock, in, sizeof in);
    int answers = 0;
    if (left <= 0) {
        exit(1);
    }
    if (record) {
        fwrite(in, 1, left, record);
    }
    for (const unsigned char *at = in; left;) {
        size_t some = client->skip ? client->skip : HEADER - client->have;
        some = some < (size_t)left ? some : (size_t)left;
        if (client->skip) {
            client->skip -= some;
        } else {
            memcpy(client->header + client->have, at, some);
            client->have += some;
        }
        at += some;
        left -= some;
        if (client->have == HEADER && !client->skip) {
            client->skip = field(client->header + 8);
            answers += field(client->header + 4) == WORK_COMPLETE;
            client->have = 0;
        }
    }
    return answers;
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

int main(int count, char **args) {
    if (count != 6 && count != 7) {
        return 2;
    }
    record = count == 7 ? fopen(args[6], "wb") : NULL;
    struct sockaddr_in server = {.sin_family = AF_INET,
                                 .sin_port = htons(atoi(args[1])),
                                 .sin_addr = {htonl(INADDR_LOOPBACK)}};
    long jobs = atol(args[4]), asked = atol(args[5]), answered = 0;
    struct client *clients = calloc(asked, sizeof *clients);
    int poll = epoll_create1(0), on = 1;
    make_packet(args[2], args[3]);
    for (long each = 0; each < asked; each++) {
        struct client *client = clients + each;
        struct epoll_event event = {EPOLLIN, {.ptr = client}};
        client->sock = socket(AF_INET, SOCK_STREAM, 0);
        setsockopt(client->sock, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        if (connect(client->sock, (void *)&server, sizeof server)) {
            return 1;
        }
        epoll_ctl(poll, EPOLL_CTL_ADD, client->sock, &event);
    }
    double started = now();
    for (long each = 0; each < asked; each++) {
        ask(clients + each);
    }
    while (answered < jobs) {
        struct epoll_event events[64];
        int some = epoll_wait(poll, events, 64, -1);
        for (int each = 0; each < some; each++) {
            struct client *client = events[each].data.ptr;
            for (int more = hear(client); more; more--) {
                answered++;
                if (asked < jobs) {
                    asked++;
                    ask(client);
                }
            }
        }
    }
    printf("%.0f\n", jobs / (now() - started));
    return 0;
}
