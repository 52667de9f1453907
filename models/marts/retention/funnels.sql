with persons as (
    select
        events.person_number,
        coalesce(segments.country, 'unknown') as country,
        coalesce(segments.channel, 'unknown') as channel,
        coalesce(segments.first_category, 'unknown') as first_category,
        coalesce(segments.first_order_coupon, 'unknown') as first_order_coupon
    from {{ ref('person_events') }} as events
    left join {{ ref('customer_segments') }} as segments
        on events.person_id = 'customer:' || segments.customer_id
    where events.event_number = 1
),

-- The device is that of the entry, not the one that a customer came with first.
entries as (
    select
        entries.funnel,
        entries.grain,
        entries.period_start_on,
        entries.step,
        coalesce(entries.device, 'unknown') as device,
        persons.country,
        persons.channel,
        persons.first_category,
        persons.first_order_coupon,
        {{ perennial.seconds_between(
            'entries.entered_at', 'entries.reached_at'
        ) }} / 3600 as hours_from_entry,
        -- The step before the second is the entry.
        case
            when entries.step > 2
                then
                    {{ perennial.seconds_between(
                        'entries.previous_reached_at', 'entries.reached_at'
                    ) }} / 3600
        end as hours_from_previous
    from {{ ref('funnel_entries') }} as entries
    inner join persons
        on entries.person_number = persons.person_number
),

-- Counts of all segments at once are few rows to add up; times cannot be added up.
counted_together as (
    select
        funnel,
        grain,
        period_start_on,
        step,
        device,
        country,
        channel,
        first_category,
        first_order_coupon,
        count(*) as n_reached
    from entries
    group by all
),

counted as (
    {%- for segment_type, segment in perennial.segment_types() %}
    select
        funnel,
        grain,
        period_start_on,
        '{{ segment_type }}' as segment_type,
        {{ segment }} as segment,
        step,
        sum(n_reached) as n_reached
    from counted_together
    {%- if segment_type != 'all' %}
    where grain = 'month'
    {%- endif %}
    group by all
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

timed as (
    {%- for segment_type, segment in perennial.segment_types() %}
    select
        funnel,
        grain,
        period_start_on,
        '{{ segment_type }}' as segment_type,
        {{ segment }} as segment,
        step,
        median(hours_from_entry) as median_hours_from_entry,
        percentile_cont(0.9) within group (order by hours_from_entry nulls last)
            as p90_hours_from_entry,
        median(hours_from_previous) as median_hours_from_previous,
        percentile_cont(0.9) within group (order by hours_from_previous nulls last)
            as p90_hours_from_previous
    from entries
    where
        step > 1
        {{ "and grain = 'month'" if segment_type != 'all' }}
    group by all
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

-- Whoever enters in the last moment of a period still has the windows of all steps.
steps as (
    select
        funnel,
        mode,
        step_number as step,
        case when mode <> 'any_order' then event end as event,
        3600 * sum(window_hours) over (partition by funnel) as whole_window_seconds
    from {{ ref('funnel_steps') }}
),

cells as (
    select
        steps.funnel,
        steps.mode,
        steps.step,
        steps.event,
        steps.whole_window_seconds,
        firsts.grain,
        firsts.period_start_on,
        firsts.segment_type,
        firsts.segment,
        firsts.n_reached as n_entered,
        case firsts.grain
            when 'week'
                then {{ perennial.add_periods('week', 'firsts.period_start_on', 1) }}
            else {{ perennial.add_periods('month', 'firsts.period_start_on', 1) }}
        end as period_end_on
    from counted as firsts
    inner join steps
        on firsts.funnel = steps.funnel
    where firsts.step = 1
),

compared as (
    select
        cells.*,
        coalesce(
            {{ perennial.seconds_between(
                perennial.start_of_day_utc('cells.period_end_on'), 'clock.as_of'
            ) }} >= coalesce(cells.whole_window_seconds, 0),
            false
        ) as is_mature,
        coalesce(counted.n_reached, 0) as n_reached,
        case when cells.step > 1 then coalesce(before.n_reached, 0) end as n_previous,
        timed.median_hours_from_entry,
        timed.p90_hours_from_entry,
        coalesce(timed.median_hours_from_previous, timed.median_hours_from_entry)
            as median_hours_from_previous,
        coalesce(timed.p90_hours_from_previous, timed.p90_hours_from_entry)
            as p90_hours_from_previous
    from cells
    cross join {{ ref('clock') }} as clock
    left join counted
        on
            cells.funnel = counted.funnel
            and cells.grain = counted.grain
            and cells.period_start_on = counted.period_start_on
            and cells.segment_type = counted.segment_type
            and cells.segment = counted.segment
            and cells.step = counted.step
    left join timed
        on
            cells.funnel = timed.funnel
            and cells.grain = timed.grain
            and cells.period_start_on = timed.period_start_on
            and cells.segment_type = timed.segment_type
            and cells.segment = timed.segment
            and cells.step = timed.step
    left join counted as before
        on
            cells.funnel = before.funnel
            and cells.grain = before.grain
            and cells.period_start_on = before.period_start_on
            and cells.segment_type = before.segment_type
            and cells.segment = before.segment
            and cells.step = before.step + 1
),

-- What has not wholly passed is counted, but no number of it is shown as the last word.
matured as (
    select
        *,
        case when is_mature then n_entered end as final_entered,
        case when is_mature then n_previous end as final_previous,
        case when is_mature then n_reached end as final_reached
    from compared
)

select
    cast(funnel as string) as funnel,
    cast(mode as string) as mode,
    cast(grain as string) as grain,
    cast(period_start_on as date) as period_start_on,
    cast(segment_type as string) as segment_type,
    cast(segment as string) as segment,
    cast(step as bigint) as step,
    cast(event as string) as event,
    cast(is_mature as boolean) as is_mature,
    cast(n_entered as bigint) as n_entered_to_date,
    cast(n_reached as bigint) as n_reached_to_date,
    cast(final_entered as bigint) as n_entered,
    cast(final_previous as bigint) as n_previous,
    cast(final_reached as bigint) as n_reached,
    cast(final_previous - final_reached as bigint) as n_dropped,
    cast(cast(final_reached as double) / final_entered as double) as reached_rate,
    cast({{ perennial.wilson('low', 'final_reached', 'final_entered') }} as double)
        as reached_rate_low,
    cast({{ perennial.wilson('high', 'final_reached', 'final_entered') }} as double)
        as reached_rate_high,
    cast(cast(final_reached as double) / nullif(final_previous, 0) as double)
        as step_rate,
    cast({{ perennial.wilson('low', 'final_reached', 'final_previous') }} as double)
        as step_rate_low,
    cast({{ perennial.wilson('high', 'final_reached', 'final_previous') }} as double)
        as step_rate_high,
    cast(case when is_mature then median_hours_from_entry end as double)
        as median_hours_from_entry,
    cast(case when is_mature then p90_hours_from_entry end as double)
        as p90_hours_from_entry,
    cast(case when is_mature then median_hours_from_previous end as double)
        as median_hours_from_previous,
    cast(case when is_mature then p90_hours_from_previous end as double)
        as p90_hours_from_previous
from matured
