"""Strips: the steps of a row operation, for up to STRIP rows or columns at a time.

A long row is a strip by itself; where there are fewer strips than threads, all threads work on one strip, in segments.
"""

from cython.parallel cimport prange
from libc.math cimport INFINITY, isinf
from libc.stdlib cimport free
from libc.string cimport memset

from fastact._engine.runtime cimport (
    allocate, end_pass, fastact_enter, fastact_environment, fastact_leave, start_part, this_processor, threads_for)
from fastact._math.row_state cimport (
    SEGMENT, SHORT_ROW, STRIP, StripState, row_patch, strip_accumulation, strip_constants,
    strip_emission, strip_reduction)


# A strip: rows that are computed together
cdef struct Strip:
    Place place
    StripState state


cdef inline void open_strip(const StripCall* call, Py_ssize_t index, Strip* strip) noexcept nogil:
    cdef Py_ssize_t j
    strip.place = place_of(call, index, call.width, call.strips)
    strip.state.fetching = call.fetching
    strip.state.factor, strip.state.factor_low = call.factor, call.factor_low
    strip.state.smoothing, strip.state.z_loss, strip.state.entries = call.smoothing, call.z_loss, call.n
    strip.state.alpha = call.alpha
    strip.state.inputs = NULL if call.inputs == NULL else call.inputs + strip.place.first * call.inputs_each
    if call.inner != 1 and strip.place.width < STRIP:       # the kernels take several columns together
        memset(strip.state.constants, 0, sizeof(strip.state.constants))
    for j in range(strip.place.width if call.scales == NULL else 0):
        strip.state.scale[j] = call.scale
    for j in range(0 if call.scales == NULL else strip.place.width):
        strip.state.scale[j] = call.scales[strip.place.first + j]
    if call.sinks != NULL:
        strip.state.sink_is_lse = call.sink_is_lse
        for j in range(strip.place.width):
            strip.state.sink[j] = call.sinks[strip.place.first + j]


cdef inline void close_strip(const StripCall* call, const Strip* strip) noexcept nogil:
    cdef Py_ssize_t j
    if call.results != NULL:
        for j in range(strip.place.width):
            call.results[strip.place.first + j] = strip.state.result[j]


cdef inline char* entries(const StripCall* call, int array, const Strip* strip, Py_ssize_t first) noexcept nogil:
    return call.arrays[array] + strip.place.offset + first * call.inner * call.itemsize


cdef inline Py_ssize_t stride(const StripCall* call) noexcept nogil:
    return call.distance if call.inner == 1 else call.inner


cdef inline void* kernel(const StripCall* call, const Step* step) noexcept nogil:
    return step.rows if call.inner == 1 else step.columns


# A step that reads x alone: maximum, minimum, recover_pairs or a search
cdef inline void run_on_x(const StripCall* call, const Step* step, const Strip* strip, Py_ssize_t first, Py_ssize_t n,
                          StripState* state) noexcept nogil:
    (<strip_reduction> kernel(call, step))(
        entries(call, step.x, strip, first), n, stride(call), strip.place.width, state)


# Adds one segment's sum to those before it, which are carried in two parts.
cdef inline void add_segment(double* high, double* low, double part) noexcept nogil:
    cdef double total = high[0] + part
    cdef double back = total - high[0]
    low[0] += 0 if isinf(total) else (high[0] - (total - back)) + (part - back)
    high[0] = total


# The sums of one segment, into first and second of the state
cdef inline void run_accumulation(const StripCall* call, const Step* step, const Strip* strip, Py_ssize_t first,
                                  Py_ssize_t n, StripState* state) noexcept nogil:
    (<strip_accumulation> kernel(call, step))(
        entries(call, step.x, strip, first), entries(call, step.y, strip, first), entries(call, 2, strip, first),
        n, stride(call), strip.place.width, state)


cdef inline void run_emission(const StripCall* call, const Step* step, const Strip* strip, Py_ssize_t first,
                              Py_ssize_t n, const StripState* state) noexcept nogil:
    (<strip_emission> kernel(call, step))(
        entries(call, step.x, strip, first), entries(call, step.y, strip, first),
        entries(call, step.target, strip, first), n, stride(call), strip.place.width, state)


# A step that reads no entry (constants of the rows) or few of each row (with labels, that of the label)
cdef inline void run_on_few(const StripCall* call, const Step* step, Strip* strip) noexcept nogil:
    cdef Py_ssize_t j, label, place, distance = call.distance if call.inner == 1 else 1
    if step.kind == CONSTANTS:
        (<strip_constants> step.rows)(&strip.state, strip.place.width)
        return
    for j in range(strip.place.width):
        label = call.labels[strip.place.first + j] if call.labels != NULL else 0
        place = strip.place.offset + (label * call.inner + j * distance) * call.itemsize
        (<row_patch> step.rows)(
            call.arrays[step.x] + place, call.arrays[2] + place, call.n, call.inner, &strip.state, j)


# Sums of whole rows, segment by segment
cdef inline void run_sums(const StripCall* call, const Step* step, Strip* strip) noexcept nogil:
    cdef double first[2][STRIP]   # in two parts
    cdef double second[2][STRIP]
    cdef Py_ssize_t start = 0, rest, j
    if call.n <= SEGMENT:
        run_accumulation(call, step, strip, 0, call.n, &strip.state)
        return
    for j in range(strip.place.width):
        first[0][j] = first[1][j] = second[0][j] = second[1][j] = 0
    while start < call.n:
        rest = call.n - start
        run_accumulation(call, step, strip, start, rest if rest < SEGMENT else SEGMENT, &strip.state)
        for j in range(strip.place.width):
            add_segment(&first[0][j], &first[1][j], strip.state.first[j])
            add_segment(&second[0][j], &second[1][j], strip.state.second[j])
        start += SEGMENT
    for j in range(strip.place.width):
        strip.state.first[j] = first[0][j] + first[1][j]
        strip.state.second[j] = second[0][j] + second[1][j]


cdef inline bint any_dominant(const Strip* strip) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(strip.place.width):
        if strip.state.dominant[j]:
            return True
    return False


# Whether a step is for dominant rows alone
cdef inline bint of_dominant(const Step* step) noexcept nogil:
    return step.condition == IF_DOMINANT or step.condition == IF_LONG_AND_DOMINANT


# Whether a step is for rows of another length
cdef inline bint left_out(const Step* step, Py_ssize_t n) noexcept nogil:
    if n <= SHORT_ROW:
        return step.condition == IF_LONG or step.condition == IF_LONG_AND_DOMINANT
    return step.condition == IF_SHORT


cdef void run_strip(const StripCall* call, Py_ssize_t index) noexcept nogil:
    cdef Strip strip
    cdef double first[STRIP]        # sums of the rows that no entry dominates
    cdef double second[STRIP]
    cdef const Step* step
    cdef Py_ssize_t j
    cdef int k
    open_strip(call, index, &strip)
    for k in range(call.count):
        step = &call.steps[k]
        if left_out(step, call.n):
            continue
        if step.kind == EXTREME or step.kind == SEARCH:
            run_on_x(call, step, &strip, 0, call.n, &strip.state)
        elif step.kind == RECOVER:
            if any_dominant(&strip):
                run_on_x(call, step, &strip, 0, call.n, &strip.state)
        elif step.kind == EMIT:
            run_emission(call, step, &strip, 0, call.n, &strip.state)
        elif step.kind != ACCUMULATE:
            run_on_few(call, step, &strip)
        elif not of_dominant(step) or call.n <= SHORT_ROW:
            run_sums(call, step, &strip)
        elif any_dominant(&strip):
            for j in range(strip.place.width):
                first[j], second[j] = strip.state.first[j], strip.state.second[j]
            run_sums(call, step, &strip)
            for j in range(strip.place.width):
                if not strip.state.dominant[j]:
                    strip.state.first[j], strip.state.second[j] = first[j], second[j]
    close_strip(call, &strip)


# What the segments of a row add up to, or the maximum of each
cdef struct SegmentSums:
    double first[STRIP]
    double second[STRIP]


# One step, of the segments from `start` to `stop`
cdef void run_segments(const StripCall* call, const Step* step, const Strip* strip, Py_ssize_t start, Py_ssize_t stop,
                       SegmentSums* sums) noexcept nogil:
    cdef fastact_environment callers = fastact_enter()
    cdef StripState state = strip.state         # kernels write their results into it
    cdef Py_ssize_t segment, first, n, j
    for segment in range(start, stop):
        first = segment * SEGMENT
        n = call.n - first if call.n - first < SEGMENT else SEGMENT
        if step.kind == EMIT:
            run_emission(call, step, strip, first, n, &state)
        elif step.kind == EXTREME:
            run_on_x(call, step, strip, first, n, &state)
            for j in range(strip.place.width):
                sums[segment].first[j] = state.maximum[j]
        else:
            run_accumulation(call, step, strip, first, n, &state)
            for j in range(strip.place.width):
                sums[segment].first[j], sums[segment].second[j] = state.first[j], state.second[j]
    fastact_leave(callers)


# The maxima of all segments, into the state
cdef inline void join_extremes(const StripCall* call, const Step* step, Strip* strip, Py_ssize_t segments,
                               const SegmentSums* sums) noexcept nogil:
    cdef Py_ssize_t segment, j
    cdef double maximum
    for j in range(strip.place.width):
        strip.state.maximum[j] = -INFINITY
        for segment in range(segments):
            maximum = sums[segment].first[j]
            if maximum > strip.state.maximum[j] or maximum != maximum:      # NaN stays
                strip.state.maximum[j] = maximum
    for j in range(strip.place.width):
        if isinf(strip.state.maximum[j]):       # another segment may hold a NaN: the whole row once more
            run_on_x(call, step, strip, 0, call.n, &strip.state)
            break


# The sums of all segments, into the state
cdef inline void join_sums(const Step* step, Strip* strip, Py_ssize_t segments,
                           const SegmentSums* sums) noexcept nogil:
    cdef double first[2]            # in two parts
    cdef double second[2]
    cdef Py_ssize_t segment, j
    for j in range(strip.place.width):
        if of_dominant(step) and not strip.state.dominant[j]:
            continue
        first[0] = first[1] = second[0] = second[1] = 0
        for segment in range(segments):
            add_segment(&first[0], &first[1], sums[segment].first[j])
            add_segment(&second[0], &second[1], sums[segment].second[j])
        strip.state.first[j] = first[0] + first[1]
        strip.state.second[j] = second[0] + second[1]


# The same result as run_strip, with all threads on one strip; `sums` has room for those of each segment.
cdef void run_strip_in_segments(const StripCall* call, Py_ssize_t index, int threads,
                                SegmentSums* sums) noexcept nogil:
    cdef Strip strip
    cdef const Step* step
    cdef Py_ssize_t segments = segments_of(call), share = (segments + threads - 1) // threads
    cdef int k, part, processor = this_processor()
    open_strip(call, index, &strip)
    for k in range(call.count):
        step = &call.steps[k]
        if left_out(step, call.n):
            continue
        if step.kind == CONSTANTS or step.kind == PATCH:
            run_on_few(call, step, &strip)
        elif step.kind == SEARCH or step.kind == RECOVER:      # on this thread alone
            if step.kind == SEARCH or any_dominant(&strip):
                run_on_x(call, step, &strip, 0, call.n, &strip.state)
        elif not of_dominant(step) or any_dominant(&strip):
            for part in prange(threads, num_threads=threads, schedule="static"):
                start_part(processor)
                run_segments(call, step, &strip, part * share, min((part + 1) * share, segments), sums)
            if step.kind == EXTREME:
                join_extremes(call, step, &strip, segments, sums)
            elif step.kind == ACCUMULATE:
                join_sums(step, &strip, segments, sums)
    close_strip(call, &strip)


cdef inline Py_ssize_t segments_of(const StripCall* call) noexcept nogil:
    return (call.n + SEGMENT - 1) // SEGMENT


cdef void run_strips(const StripCall* call, Py_ssize_t start, Py_ssize_t stop) noexcept nogil:
    cdef fastact_environment callers = fastact_enter()
    cdef Py_ssize_t index
    for index in range(start, stop):
        run_strip(call, index)
    fastact_leave(callers)


cdef void run_all_strips(const StripCall* call, Py_ssize_t count, double nanoseconds) noexcept nogil:
    cdef Py_ssize_t chunk, index
    cdef int threads = threads_for(nanoseconds), k, processor
    cdef fastact_environment callers
    cdef SegmentSums* sums = NULL
    cdef bint divisible = call.count > 1 or call.steps[0].kind != SEARCH    # a search reads whole rows
    if divisible and threads > 1 and count < 2 * threads and call.n >= 2 * SEGMENT:
        sums = <SegmentSums*> allocate(segments_of(call) * sizeof(SegmentSums))
    if sums != NULL:
        callers = fastact_enter()
        for index in range(count):
            run_strip_in_segments(call, index, threads, sums)
        fastact_leave(callers)
        end_pass()
        free(sums)
    elif threads > 1 and count > 1:
        chunk = (count + threads - 1) // threads
        processor = this_processor()
        for k in prange(threads, num_threads=threads, schedule="static"):
            start_part(processor)
            run_strips(call, k * chunk, (k + 1) * chunk if (k + 1) * chunk < count else count)
        end_pass()
    else:
        run_strips(call, 0, count)
