-- Months that have wholly passed, each against the one before and the same of a year before.
with days as (
    select
        months.period_start_on,
        months.period_index,
        months.day_on,
        numbers.period_index % 7 as weekday
    from {{ ref('calendar') }} as months
    inner join {{ ref('calendar') }} as numbers
        on months.day_on = numbers.day_on
    where
        months.grain = 'month'
        and numbers.grain = 'day'
        and months.period_index < (
            select max(latest.period_index) from {{ ref('calendar') }} as latest
            where latest.grain = 'month'
        )
),

months as (
    select distinct
        period_start_on,
        period_index
    from days
),

sides as (
    {%- for compared_with, n_months in [('month before', 1), ('year before', 12)] %}
    {%- for side in ['before', 'after'] %}
    select
        '{{ compared_with }}' as compared_with,
        later.period_start_on,
        earlier.period_start_on as previous_period_start_on,
        '{{ side }}' as side,
        {{ 'earlier' if side == 'before' else 'later' }}.period_start_on
            as side_start_on
    from months as later
    inner join months as earlier
        on later.period_index - {{ n_months }} = earlier.period_index
    {{ 'union all' if not loop.last }}
    {%- endfor %}
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

weekdays as (
    select
        days.period_start_on,
        days.weekday,
        count(*) as n_days,
        cast(coalesce(sum(sales.net_amount), 0) as double) as net_amount
    from days
    left join (
        select
            ordered_on,
            sum(net_amount) as net_amount
        from {{ ref('orders') }}
        where not is_cancelled
        group by all
    ) as sales
        on days.day_on = sales.ordered_on
    group by all
),

-- A day counts as what its weekday brings in the two months together, so that a fifth Saturday
-- is not taken for better customers.
weights as (
    select
        sides.compared_with,
        sides.period_start_on,
        weekdays.weekday,
        sum(weekdays.net_amount) / sum(weekdays.n_days) as weight
    from sides
    inner join weekdays
        on sides.side_start_on = weekdays.period_start_on
    group by all
),

lengths as (
    select
        sides.compared_with,
        {%- for side in ['before', 'after'] %}
        sum({{ perennial.exact('weekdays.n_days * weights.weight') }}) filter (
            where sides.side = '{{ side }}'
        ) as weight_{{ side }},
        sum(weekdays.n_days) filter (
            where sides.side = '{{ side }}'
        ) as n_days_{{ side }},
        {%- endfor %}
        sides.period_start_on
    from sides
    inner join weekdays
        on sides.side_start_on = weekdays.period_start_on
    inner join weights
        on
            sides.compared_with = weights.compared_with
            and sides.period_start_on = weights.period_start_on
            and weekdays.weekday = weights.weekday
    group by all
),

-- Both months side by side, also for groups that one of them lacks.
compared as (
    select
        sides.compared_with,
        sides.period_start_on,
        sides.previous_period_start_on,
        cells.segment_type,
        cells.segment,
        {%- for side in ['before', 'after'] %}
        {%- for column in ['n_customers', 'n_orders', 'n_units'] %}
        cast(coalesce(
            sum(cells.{{ column }}) filter (where sides.side = '{{ side }}'), 0
        ) as double) as {{ column }}_{{ side }},
        {%- endfor %}
        {%- for column in ['net_amount', 'refund_amount'] %}
        case
            when count_if(sides.side = '{{ side }}' and cells.{{ column }} is null) = 0
                then coalesce(
                    sum(cells.{{ column }}) filter (where sides.side = '{{ side }}'), 0
                )
        end as {{ column }}_{{ side }},
        {%- endfor %}
        {%- endfor %}
        cells.is_new
    from sides
    inner join {{ ref('revenue_months') }} as cells
        on sides.side_start_on = cells.period_start_on
    group by all
),

-- Without units to count by there are orders.
measured as (
    select
        compared.*,
        {%- for side in ['before', 'after'] %}
        sum(compared.n_customers_{{ side }}) over everyone as all_customers_{{ side }},
        case
            when least(compared.n_units_before, compared.n_units_after) > 0
                then compared.n_units_{{ side }}
            else compared.n_orders_{{ side }}
        end as volume_{{ side }},
        cast(
            case
                when least(lengths.weight_before, lengths.weight_after) > 0
                    then lengths.weight_{{ side }}
                else lengths.n_days_{{ side }}
            end
            as double
        ) as length_{{ side }},
        {%- endfor %}
        cast(compared.net_amount_after - compared.net_amount_before as double)
            as net_change,
        cast(compared.refund_amount_before - compared.refund_amount_after as double)
            as refunds
    from compared
    inner join lengths
        on
            compared.compared_with = lengths.compared_with
            and compared.period_start_on = lengths.period_start_on
    window everyone as (
        partition by
            compared.compared_with, compared.period_start_on, compared.segment_type
    )
),

-- The net amount of a group is length x customers per length x its share of them x units of each
-- x amount per unit. The logarithmic mean of the two amounts times the logarithm of the growth of
-- a factor is that factor's part of the change, and all parts add up to it (B. W. Ang, "The LMDI
-- approach to decomposition analysis: a practical guide", Energy Policy 33, 2005).
growths as (
    select
        *,
        case
            when net_change is null then null
            when least(n_customers_before, n_customers_after) = 0 then 'one month only'
            when least(net_amount_before, net_amount_after) <= 0 then 'given away'
            else 'both'
        end as presence,
        case
            when net_change = 0 then cast(net_amount_after as double)
            when least(net_amount_before, net_amount_after) > 0
                then
                    net_change
                    / ln(
                        cast(net_amount_after as double)
                        / cast(net_amount_before as double)
                    )
        end as mean_amount,
        {%- for side in ['before', 'after'] %}
        all_customers_{{ side }} / length_{{ side }} as pace_{{ side }},
        n_customers_{{ side }} / nullif(all_customers_{{ side }}, 0)
            as share_{{ side }},
        volume_{{ side }} / nullif(n_customers_{{ side }}, 0)
            as volume_each_{{ side }},
        {%- endfor %}
        ln(length_after / length_before) as length_growth
    from measured
),

-- A group that is there in one of the months only came or went as a whole: that is mix, or
-- customers where nobody else was there. What was given away in one of the months is price.
parts as (
    select
        *,
        case
            when presence = 'both' then mean_amount * length_growth
            when presence is not null then 0
        end as calendar,
        case
            when presence = 'both' then mean_amount * ln(pace_after / pace_before)
            when
                presence = 'one month only'
                and least(all_customers_before, all_customers_after) = 0
                then net_change
            when presence is not null then 0
        end as customers,
        case
            when presence = 'both' then mean_amount * ln(share_after / share_before)
            when
                presence = 'one month only'
                and least(all_customers_before, all_customers_after) > 0
                then net_change
            when presence is not null then 0
        end as mix,
        case
            when presence = 'both'
                then mean_amount * ln(volume_each_after / volume_each_before)
            when presence is not null then 0
        end as behaviour
    from growths
),

-- In cents, each part as what it adds to those before it, so that nothing is lost to rounding.
revenue_effects as (
    select
        compared_with,
        period_start_on,
        previous_period_start_on,
        segment_type,
        segment,
        net_amount_before - refund_amount_before as value_before,
        net_amount_after - refund_amount_after as value_after,
        round(calendar, 2) as calendar,
        round(calendar + customers, 2) - round(calendar, 2) as customers,
        round(calendar + customers + mix, 2) - round(calendar + customers, 2) as mix,
        round(calendar + customers + mix + behaviour, 2)
        - round(calendar + customers + mix, 2) as behaviour,
        net_change - round(calendar + customers + mix + behaviour, 2) as price,
        refunds
    from parts
),

revenue_changes as (
    {%- for cause in [
        'calendar', 'customers', 'mix', 'behaviour', 'price', 'refunds',
    ] %}
    select
        'revenue' as kpi,
        compared_with,
        period_start_on,
        previous_period_start_on,
        segment_type,
        segment,
        '{{ cause }}' as cause,
        {{ perennial.complete_sum('value_before') }} as value_before,
        {{ perennial.complete_sum('value_after') }} as value_after,
        {{ perennial.complete_sum(perennial.exact(cause)) }} as effect
    from revenue_effects
    group by all
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

-- Of a cohort, how many came back in the month after.
cohorts as (
    select
        sides.*,
        cohorts.segment_type,
        cohorts.segment,
        cohorts.retention_rate as rate,
        cast(cohorts.retention_denominator as double)
        / sum(cohorts.retention_denominator) over (
            partition by
                sides.compared_with,
                sides.period_start_on,
                sides.side,
                cohorts.segment_type
        ) as share
    from sides
    inner join {{ ref('cohort_retention') }} as cohorts
        on sides.side_start_on = cohorts.cohort_start_on
    where
        cohorts.grain = 'month'
        and cohorts.period_number = 1
        and cohorts.is_mature
),

-- A segment that one of the cohorts lacks has no rate there: its coming or going is mix.
rates as (
    select
        compared_with,
        period_start_on,
        previous_period_start_on,
        segment_type,
        {%- for side, other in [('before', 'after'), ('after', 'before')] %}
        coalesce(max(share) filter (where side = '{{ side }}'), 0) as share_{{ side }},
        coalesce(
            max(rate) filter (where side = '{{ side }}'),
            max(rate) filter (where side = '{{ other }}')
        ) as rate_{{ side }},
        {%- endfor %}
        segment
    from cohorts
    group by all
),

both_cohorts as (
    select
        rates.*,
        rates.share_after - rates.share_before as share_change,
        rates.rate_after - rates.rate_before as rate_change
    from rates
    inner join (
        select
            compared_with,
            period_start_on
        from cohorts
        where segment_type = 'all'
        group by all
        having count(*) = 2
    ) as complete
        on
            rates.compared_with = complete.compared_with
            and rates.period_start_on = complete.period_start_on
),

rate_changes as (
    {%- for cause, effect in [
        ('mix', 'share_change * (rate_before + rate_after) / 2'),
        ('behaviour', 'rate_change * (share_before + share_after) / 2'),
    ] %}
    select
        'month_1_retention' as kpi,
        compared_with,
        period_start_on,
        previous_period_start_on,
        segment_type,
        segment,
        '{{ cause }}' as cause,
        share_before * rate_before as value_before,
        share_after * rate_after as value_after,
        {{ effect }} as effect
    from both_cohorts
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

changes as (
    select * from revenue_changes
    union all
    select * from rate_changes
)

select
    cast(kpi as string) as kpi,
    cast(compared_with as string) as compared_with,
    cast(period_start_on as date) as period_start_on,
    cast(previous_period_start_on as date) as previous_period_start_on,
    cast(segment_type as string) as segment_type,
    cast(segment as string) as segment,
    cast(cause as string) as cause,
    cast(value_before as double) as value_before,
    cast(value_after as double) as value_after,
    cast(effect as double) as effect
from changes
