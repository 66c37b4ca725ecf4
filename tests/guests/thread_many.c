/* Hundreds of threads at once. */
#include "guest.h"
#include <pthread.h>

enum { THREADS = 250 };
static pthread_barrier_t all_there;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static long sum;

static void *add(void *number) {
    pthread_mutex_lock(&lock);
    sum += (long)number;
    pthread_mutex_unlock(&lock);
    pthread_barrier_wait(&all_there);
    return number;
}

CASE(at_once) {
    static pthread_t threads[THREADS];
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 64 << 10);
    pthread_barrier_init(&all_there, NULL, THREADS + 1);
    for (long i = 0; i < THREADS; i++) {
        int error = pthread_create(&threads[i], &attributes, add, (void *)i);
        if (error) {
            say("thread %ld: %s", i, strerrorname_np(error));
            _exit(1);
        }
    }
    pthread_barrier_wait(&all_there);
    long wrong = 0;
    for (long i = 0; i < THREADS; i++) {
        void *result;
        pthread_join(threads[i], &result);
        wrong += (long)result != i;
    }
    say("sum %ld, %ld wrong", sum, wrong);
}
