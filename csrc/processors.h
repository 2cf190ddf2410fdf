/* processors.h: how many processors this process may use, by affinity and, in a container, by the quota of its cgroup.
 */

#ifdef __linux__

/* How many processors the quota of one cgroup directory is worth, rounded up; 0 when it has none. */
static int quota_of(const char *directory, int version) {
    char path[4200];
    long long quota = -1, period = -1;
    snprintf(path, sizeof path, "%s/%s", directory, version == 2 ? "cpu.max" : "cpu.cfs_quota_us");
    FILE *f = fopen(path, "r");
    if (f == NULL) return 0;
    int fields = fscanf(f, "%lld %lld", &quota, &period); /* "max" instead of a number: no limit */
    fclose(f);
    if (version == 1) {
        snprintf(path, sizeof path, "%s/cpu.cfs_period_us", directory);
        f = fopen(path, "r");
        if (f == NULL) return 0;
        fields += fscanf(f, "%lld", &period);
        fclose(f);
    }
    return fields == 2 && quota > 0 && period > 0 ? (int)((quota + period - 1) / period) : 0;
}

/* The tightest quota on the way from this process's cgroup up to the root; 0 when there is none. In a container the
 * lower part of the path may not exist, and the root is the container's own. */
static int cgroup_processors(void) {
    char line[4096], directory[4160];
    int least = 0;
    FILE *f = fopen("/proc/self/cgroup", "r");
    while (f != NULL && fgets(line, sizeof line, f) != NULL) { /* hierarchy:controllers:path */
        char *controllers = strchr(line, ':');
        char *path = controllers == NULL ? NULL : strchr(controllers + 1, ':');
        if (path == NULL) continue;
        *path++ = '\0';
        path[strcspn(path, "\n")] = '\0';
        int version = controllers[1] == '\0' ? 2 : 1;
        if (version == 1 && strcmp(controllers, ":cpu") != 0 && strncmp(controllers, ":cpu,", 5) != 0 &&
            strcmp(controllers, ":cpuacct,cpu") != 0)
            continue;
        for (char *end = path + strlen(path); end != NULL; end = strrchr(path, '/')) {
            *end = '\0';
            snprintf(directory, sizeof directory, "/sys/fs/cgroup%s%s", version == 2 ? "" : "/cpu", path);
            int quota = quota_of(directory, version);
            if (quota > 0 && (least == 0 || quota < least)) least = quota;
        }
    }
    if (f != NULL) fclose(f);
    return least;
}

static int processors(void) {
    cpu_set_t set;
    int n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : (int)sysconf(_SC_NPROCESSORS_ONLN);
    int quota = cgroup_processors();
    return quota > 0 && quota < n ? quota : n;
}

#elif defined(_WIN32)

static int processors(void) {
    DWORD_PTR mine, all;
    return GetProcessAffinityMask(GetCurrentProcess(), &mine, &all) ? __builtin_popcountll(mine) : 1;
}

#else

static int processors(void) { return (int)sysconf(_SC_NPROCESSORS_ONLN); }

#endif
