with definitions as (
    select
        *,
        {{ perennial.base_number() | indent(8) }} as base_number
    from {{ ref('retention_definitions') }}
),

period_numbers as (
    {{ perennial.numbers(0, '(select coalesce(max(n_periods), 0) from definitions)') }}
),

-- What a return must fall into to count for a period number. Without a last period the
-- window is open: whatever comes until as_of counts.
windows as (
    select
        definitions.definition,
        numbers.n as period_number,
        numbers.n as from_period,
        case
            when definitions.kind = 'unbounded' then definitions.horizon
            else numbers.n
        end as to_period
    from definitions
    inner join period_numbers as numbers
        on definitions.n_periods >= numbers.n
    where definitions.kind <> 'bracket'

    union all

    select
        brackets.definition,
        brackets.bracket as period_number,
        brackets.from_period,
        brackets.to_period
    from {{ ref('retention_brackets') }} as brackets
),

-- How many periods must have passed since a start before its window has.
cell_definitions as (
    select
        definitions.*,
        windows.period_number,
        windows.from_period,
        windows.to_period,
        coalesce(windows.to_period, windows.from_period) + 1 as n_periods_needed
    from definitions
    inner join windows
        on definitions.definition = windows.definition
),

-- The last day on which somebody can have joined decides when a cohort's cell is mature.
cohorts as (
    select
        starts.base_number,
        starts.cohort_start_on,
        case definitions.cohort_grain
            when 'day' then {{ perennial.add_days('starts.cohort_start_on', 1) }}
            when 'week' then {{ perennial.add_days('starts.cohort_start_on', 7) }}
            else {{ perennial.add_months('starts.cohort_start_on', 1) }}
        end as cohort_end_on,
        definitions.clock,
        definitions.period_grain
    from (
        select distinct
            base_number,
            cohort_start_on
        from {{ ref('retention_starts') }}
    ) as starts
    inner join (
        select distinct
            base_number,
            clock,
            cohort_grain,
            period_grain
        from definitions
    ) as definitions
        on starts.base_number = definitions.base_number
),

cohort_ages as (
    select
        cohorts.base_number,
        cohorts.cohort_start_on,
        case
            when cohorts.cohort_end_on > clock.as_of_on then 0
            when cohorts.clock = 'calendar'
                then today.period_index - last_days.period_index
            else floor(
                {{ perennial.seconds_between(
                    perennial.start_of_day_utc('cohorts.cohort_end_on'), 'clock.as_of'
                ) }}
                / {{ perennial.period_seconds('cohorts.period_grain') }}
            )
        end as n_periods_passed
    from cohorts
    cross join {{ ref('clock') }} as clock
    inner join {{ ref('calendar') }} as today
        on
            cohorts.period_grain = today.grain
            and clock.as_of_on = today.day_on
    left join {{ ref('calendar') }} as last_days
        on
            cohorts.period_grain = last_days.grain
            and {{ perennial.add_days('cohorts.cohort_end_on', -1) }} = last_days.day_on
),

-- By which a start or a return says how many periods have passed since the start.
todays as (
    select
        bases.base_number,
        bases.clock,
        bases.period_grain,
        today.period_index as today_index,
        clock.as_of
    from {{ ref('retention_bases') }} as bases
    cross join {{ ref('clock') }} as clock
    inner join {{ ref('calendar') }} as today
        on
            bases.period_grain = today.grain
            and clock.as_of_on = today.day_on
),

starts as (
    select
        starts.base_number,
        starts.cohort_start_on,
        {{ perennial.periods_passed('starts', 'todays') | indent(8) }}
            as n_periods_passed,
        segments.*
    from {{ ref('retention_starts') }} as starts
    inner join todays
        on starts.base_number = todays.base_number
    inner join {{ ref('customer_segments') }} as segments
        on starts.customer_id = segments.customer_id
),

sizes as (
    {%- for segment_type, segment in perennial.segment_types() %}
    select
        base_number,
        cohort_start_on,
        n_periods_passed,
        '{{ segment_type }}' as segment_type,
        {{ segment }} as segment,
        count(*) as n_customers
    from starts
    {%- if segment_type != 'all' %}
    where base_number in (select base_number from definitions where has_segments)
    {%- endif %}
    group by all
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

-- From the first of a cohort's customers to come to the period on.
cells as (
    select
        definitions.definition,
        sizes.cohort_start_on,
        sizes.segment_type,
        sizes.segment,
        definitions.period_number,
        sum(sizes.n_customers) as n_customers,
        coalesce(
            sum(sizes.n_customers) filter (
                where sizes.n_periods_passed >= definitions.n_periods_needed
            ),
            0
        ) as n_reached_customers
    from sizes
    inner join cell_definitions as definitions
        on
            sizes.base_number = definitions.base_number
            and (definitions.has_segments or sizes.segment_type = 'all')
    group by all
    having max(sizes.n_periods_passed) >= min(definitions.from_period)
),

returns as (
    select
        returns.base_number,
        returns.customer_id,
        returns.cohort_start_on,
        returns.period_number,
        {{ perennial.periods_passed('returns', 'todays') | indent(8) }}
            as n_periods_passed
    from {{ ref('retention_returns') }} as returns
    inner join todays
        on returns.base_number = todays.base_number
),

-- What is exact needs no window.
returns_in_order as (
    select
        *,
        row_number() over starts as n_returns,
        lag(period_number) over starts as previous_period_number,
        lead(period_number) over starts as next_period_number
    from returns
    where base_number in (select base_number from definitions where kind <> 'exact')
    window starts as (
        partition by base_number, customer_id, cohort_start_on
        order by period_number nulls last
    )
),

-- One row per start and cell in which it counts as retained.
hits as (
    select
        returns.base_number,
        returns.customer_id,
        returns.cohort_start_on,
        definitions.definition,
        definitions.period_number,
        definitions.has_segments
    from returns
    inner join cell_definitions as definitions
        on
            returns.base_number = definitions.base_number
            and returns.period_number = definitions.period_number
    where
        definitions.kind = 'exact'
        and returns.n_periods_passed >= definitions.n_periods_needed

    union all

    -- Without a gap: as many returns as periods, the start's own included.
    select
        returns.base_number,
        returns.customer_id,
        returns.cohort_start_on,
        definitions.definition,
        definitions.period_number,
        definitions.has_segments
    from returns_in_order as returns
    inner join cell_definitions as definitions
        on
            returns.base_number = definitions.base_number
            and returns.period_number = definitions.period_number
    where
        definitions.kind = 'streak'
        and returns.n_periods_passed >= definitions.n_periods_needed
        and returns.n_returns = returns.period_number + 1

    union all

    -- The first return of each that falls into the bracket.
    select
        returns.base_number,
        returns.customer_id,
        returns.cohort_start_on,
        definitions.definition,
        definitions.period_number,
        definitions.has_segments
    from returns_in_order as returns
    inner join cell_definitions as definitions
        on
            returns.base_number = definitions.base_number
            and returns.period_number >= definitions.from_period
            and returns.period_number <= definitions.to_period
    where
        definitions.kind = 'bracket'
        and returns.n_periods_passed >= definitions.n_periods_needed
        and coalesce(returns.previous_period_number, -1) < definitions.from_period

    union all

    -- The last return of each before the horizon: it is on or after all periods up to it.
    select
        returns.base_number,
        returns.customer_id,
        returns.cohort_start_on,
        definitions.definition,
        definitions.period_number,
        definitions.has_segments
    from returns_in_order as returns
    inner join cell_definitions as definitions
        on
            returns.base_number = definitions.base_number
            and returns.period_number >= definitions.from_period
    where
        definitions.kind = 'unbounded'
        and returns.n_periods_passed >= definitions.n_periods_needed
        and returns.period_number <= coalesce(
            definitions.to_period, returns.period_number
        )
        and (
            returns.next_period_number is null
            or returns.next_period_number > definitions.to_period
        )
),

retained as (
    select
        hits.definition,
        hits.period_number,
        hits.cohort_start_on,
        hits.has_segments,
        segments.*
    from hits
    inner join {{ ref('customer_segments') }} as segments
        on hits.customer_id = segments.customer_id
),

retained_counts as (
    {%- for segment_type, segment in perennial.segment_types() %}
    select
        definition,
        period_number,
        cohort_start_on,
        '{{ segment_type }}' as segment_type,
        {{ segment }} as segment,
        count(*) as n_retained_customers
    from retained
    {%- if segment_type != 'all' %}
    where has_segments
    {%- endif %}
    group by all
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

counted as (
    select
        cells.*,
        definitions.kind,
        definitions.starts,
        definitions.start_event,
        definitions.return_event,
        definitions.clock,
        definitions.cohort_grain,
        definitions.period_grain,
        definitions.from_period,
        definitions.to_period,
        ages.n_periods_passed >= definitions.n_periods_needed as is_mature,
        coalesce(retained.n_retained_customers, 0) as n_retained_customers
    from cells
    inner join cell_definitions as definitions
        on
            cells.definition = definitions.definition
            and cells.period_number = definitions.period_number
    inner join cohort_ages as ages
        on
            definitions.base_number = ages.base_number
            and cells.cohort_start_on = ages.cohort_start_on
    left join retained_counts as retained
        on
            cells.definition = retained.definition
            and cells.period_number = retained.period_number
            and cells.cohort_start_on = retained.cohort_start_on
            and cells.segment_type = retained.segment_type
            and cells.segment = retained.segment
)

select
    cast(definition as string) as definition,
    cast(kind as string) as kind,
    cast(starts as string) as starts,
    cast(start_event as string) as start_event,
    cast(return_event as string) as return_event,
    cast(clock as string) as clock,
    cast(cohort_grain as string) as cohort_grain,
    cast(period_grain as string) as period_grain,
    cast(segment_type as string) as segment_type,
    cast(segment as string) as segment,
    cast(cohort_start_on as date) as cohort_start_on,
    cast(period_number as bigint) as period_number,
    cast(from_period as bigint) as from_period,
    cast(to_period as bigint) as to_period,
    cast(is_mature as boolean) as is_mature,
    cast(n_customers as bigint) as n_customers,
    cast(n_reached_customers as bigint) as n_reached_customers,
    cast(n_retained_customers as bigint) as n_retained_customers_to_date,
    cast(case when is_mature then n_retained_customers end as bigint)
        as retention_numerator,
    cast(case when is_mature then n_customers end as bigint) as retention_denominator,
    cast(
        case when is_mature then cast(n_retained_customers as double) / n_customers end
        as double
    ) as retention_rate,
    cast(
        case
            when is_mature
                then {{ perennial.wilson(
                    'low', 'n_retained_customers', 'n_customers'
                ) }}
        end
        as double
    ) as retention_rate_low,
    cast(
        case
            when is_mature
                then {{ perennial.wilson(
                    'high', 'n_retained_customers', 'n_customers'
                ) }}
        end
        as double
    ) as retention_rate_high
from counted
