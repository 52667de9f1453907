-- In the order in which they are switched; 0 is Perennial's own way.
with rules as (
    {%- for rule in [
        'none', 'running_period', 'kind', 'clock', 'month', 'hours', 'floor', 'period_zero',
        'average',
    ] %}
    select
        {{ loop.index0 }} as rule_number,
        '{{ rule }}' as rule
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

grains as (
    {%- for grain in perennial.parity_periods() %}
    select '{{ grain }}' as period_grain
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

vendors as (
    select
        *,
        case when period_grain = 'day' then day_windows else longer_windows end as hours
    from {{ ref('retention_vendors') }}
    cross join grains
),

switches as (
    select
        theirs.rule_set,
        theirs.period_grain,
        rules.rule_number,
        rules.rule,
        case when rules.rule_number >= 2 then theirs.kind else ours.kind end as kind,
        case when rules.rule_number >= 3 then theirs.clock else ours.clock end as clock,
        case when rules.rule_number >= 4 then theirs.month else ours.month end as month,
        case
            when rules.rule_number < 5 then ours.hours
            when rules.rule_number = 5 and theirs.hours = 'hours' then 'moments'
            else theirs.hours
        end as hours,
        case
            when rules.rule_number >= 7 then theirs.period_zero else ours.period_zero
        end as period_zero,
        case
            when rules.rule_number >= 8 then theirs.average else ours.average
        end as average
    from vendors as theirs
    inner join vendors as ours
        on
            ours.rule_set = 'perennial'
            and theirs.period_grain = ours.period_grain
    cross join rules
    where theirs.rule_set <> 'perennial'
),

steps as (
    select
        *,
        {{ perennial.parity_windows_of('period_grain', 'clock', 'month', 'hours') }}
            as windows
    from switches
),

changes as (
    select
        now.rule_set,
        now.period_grain,
        now.rule_number,
        now.rule,
        now.rule_number = 1 as is_first,
        before.kind as kind_before,
        now.kind as kind_after,
        before.windows as windows_before,
        now.windows as windows_after,
        before.period_zero as period_zero_before,
        now.period_zero as period_zero_after
    from steps as now
    inner join steps as before
        on
            now.rule_set = before.rule_set
            and now.period_grain = before.period_grain
            and now.rule_number = before.rule_number + 1
    where
        now.rule_number = 1
        or now.kind <> before.kind
        or now.windows <> before.windows
        or now.period_zero <> before.period_zero
),

-- Sets of rules share most of their changes.
distinct_changes as (
    select distinct
        period_grain,
        is_first,
        kind_before,
        kind_after,
        windows_before,
        windows_after,
        period_zero_before,
        period_zero_after
    from changes
),

counted_changes as (
    select
        changes.*,
        counts_after.activity,
        counts_after.cohort_start_on,
        counts_after.period_number,
        counts_after.n_customers,
        -- Only Perennial's own number waits for the period to pass.
        case
            when counts_before.is_mature or not changes.is_first
                then {{ perennial.parity_retained(
                    'changes.kind_before', 'changes.period_zero_before', 'counts_before'
                ) }}
        end as n_before,
        {{ perennial.parity_retained(
            'changes.kind_after', 'changes.period_zero_after', 'counts_after'
        ) }} as n_after
    from distinct_changes as changes
    inner join {{ ref('retention_parity_counts') }} as counts_after
        on
            changes.period_grain = counts_after.period_grain
            and changes.windows_after = counts_after.windows
            and (
                counts_after.period_number = 0
                or changes.period_zero_before = changes.period_zero_after
            )
    inner join {{ ref('retention_parity_counts') }} as counts_before
        on
            counts_after.activity = counts_before.activity
            and counts_after.period_grain = counts_before.period_grain
            and counts_after.cohort_start_on = counts_before.cohort_start_on
            and counts_after.period_number = counts_before.period_number
            and changes.windows_before = counts_before.windows
),

-- Of the cells that the dashboard shows.
cells as (
    select
        changes.rule_set,
        changes.rule_number,
        changes.rule,
        counted.activity,
        counted.period_grain,
        counted.cohort_start_on,
        counted.period_number,
        counted.n_customers,
        counted.n_before,
        counted.n_after
    from counted_changes as counted
    inner join changes
        on
            counted.period_grain = changes.period_grain
            and counted.is_first = changes.is_first
            {%- for column in ['kind', 'windows', 'period_zero'] %}
            and counted.{{ column }}_before = changes.{{ column }}_before
            and counted.{{ column }}_after = changes.{{ column }}_after
            {%- endfor %}
    inner join {{ ref('retention_parity') }} as parity
        on
            changes.rule_set = parity.rule_set
            and counted.activity = parity.activity
            and counted.period_grain = parity.period_grain
            and counted.cohort_start_on = parity.cohort_start_on
            and counted.period_number = parity.period_number
    where
        (counted.n_before is null or counted.n_before <> counted.n_after)
        and parity.dashboard_rate is not null
),

distinct_steps as (
    select distinct
        period_grain,
        kind,
        windows,
        period_zero
    from steps
),

mature_cells as (
    select
        steps.*,
        counts.activity,
        counts.period_number,
        counts.n_customers,
        cast(counts.n_customers as double) as n_customers_as_double,
        {{ perennial.parity_retained('steps.kind', 'steps.period_zero', 'counts') }}
            as n_retained
    from distinct_steps as steps
    inner join {{ ref('retention_parity_counts') }} as counts
        on
            steps.period_grain = counts.period_grain
            and steps.windows = counts.windows
    where counts.is_mature
),

means as (
    select
        activity,
        period_grain,
        kind,
        windows,
        period_zero,
        period_number,
        sum(n_customers) as n_customers,
        cast(sum(n_retained) as double) / sum(n_customers) as pooled,
        cast(sum(n_customers * n_retained) as double) / sum(n_customers * n_customers)
            as weighted,
        cast(sum({{ perennial.exact('n_retained / n_customers_as_double') }}) as double)
        / count(*) as simple
    from mature_cells
    group by all
),

averages as (
    select
        steps.rule_set,
        steps.rule_number,
        steps.rule,
        means.activity,
        means.period_grain,
        means.period_number,
        means.n_customers,
        case steps.average
            when 'weighted' then means.weighted
            when 'simple' then means.simple
            else means.pooled
        end as average_rate
    from steps
    inner join means
        on
            steps.period_grain = means.period_grain
            and steps.kind = means.kind
            and steps.windows = means.windows
            and steps.period_zero = means.period_zero
),

-- After a rule without any cohort to average, the next one that has some bears the difference.
average_changes as (
    select
        *,
        lag(average_rate) over (
            partition by rule_set, activity, period_grain, period_number
            order by rule_number asc nulls last
        ) as rate_before,
        max(rule_number) over (
            partition by rule_set, activity, period_grain, period_number
        ) as last_rule_number
    from averages
),

differences as (
    select
        rule_set,
        'cell' as level,
        activity,
        period_grain,
        cohort_start_on,
        period_number,
        rule_number,
        rule,
        n_customers,
        n_before as n_retained_customers_before,
        n_after as n_retained_customers_after,
        {{ perennial.exact('cast(n_before as double) / n_customers') }} as rate_before,
        {{ perennial.exact('cast(n_after as double) / n_customers') }} as rate_after
    from cells

    union all

    select
        rule_set,
        'average' as level,
        activity,
        period_grain,
        cast(null as date) as cohort_start_on,
        period_number,
        rule_number,
        rule,
        n_customers,
        cast(null as bigint) as n_retained_customers_before,
        cast(null as bigint) as n_retained_customers_after,
        {{ perennial.exact('rate_before') }} as rate_before,
        {{ perennial.exact('average_rate') }} as rate_after
    from average_changes
    where
        rule_number > 0
        -- The dashboard has none.
        and last_rule_number = 8
        and (rate_before is null or rate_before <> average_rate)
)

select
    cast(differences.rule_set as string) as rule_set,
    cast(vendors.vendor as string) as vendor,
    cast(differences.level as string) as level,
    cast(differences.activity as string) as activity,
    cast(differences.period_grain as string) as period_grain,
    cast(differences.cohort_start_on as date) as cohort_start_on,
    cast(differences.period_number as bigint) as period_number,
    cast(differences.rule_number as integer) as rule_number,
    cast(differences.rule as string) as rule,
    cast(
        case differences.rule
            when 'running_period' then 'shows the period that is still running, so far'
            when 'kind' then 'counts a return in the period or any later one'
            when 'clock' then 'counts periods from the first day of each customer'
            when 'month' then 'takes a month for 30 days'
            when 'hours' then 'takes a day for 24 hours from the start, not for a date'
            when 'floor' then 'rounds times down to the hour'
            when 'period_zero'
                then
                    case vendors.period_zero
                        when 'always' then 'sets period 0 to 100 %'
                        else 'does not take the start for a return'
                    end
            when 'average'
                then
                    case vendors.average
                        when 'simple' then 'gives every cohort the same weight'
                        else 'weighs cohorts by the square of their size'
                    end
        end
        as string
    ) as explanation,
    cast(differences.n_customers as bigint) as n_customers,
    cast(differences.n_retained_customers_before as bigint)
        as n_retained_customers_before,
    cast(differences.n_retained_customers_after as bigint)
        as n_retained_customers_after,
    cast(differences.rate_before as decimal(18, 12)) as rate_before,
    cast(differences.rate_after as decimal(18, 12)) as rate_after,
    cast(differences.rate_after - differences.rate_before as decimal(18, 12))
        as difference
from differences
inner join {{ ref('retention_vendors') }} as vendors
    on differences.rule_set = vendors.rule_set
