-- Who came by a channel and what they brought is what cohort_revenue has by channel and month.
with keys as (
    select
        channel,
        month_start_on as cohort_start_on
    from {{ ref('ad_costs') }}
    union
    select
        segment as channel,
        cohort_start_on
    from {{ ref('cohort_revenue') }}
    where
        grain = 'month'
        and segment_type = 'channel'
),

history as (
    select
        coalesce(
            max({{ perennial.periods_between(
                'month', 'keys.cohort_start_on', 'clock.as_of_on'
            ) }}),
            0
        ) as n_months
    from keys
    cross join {{ ref('clock') }} as clock
),

period_numbers as (
    {{ perennial.numbers(0, '(select n_months from history)') }}
),

-- Also where nobody came: what was spent there must not be missing from a sum.
cells as (
    select
        keys.channel,
        keys.cohort_start_on,
        numbers.n as period_number,
        {{ perennial.start_of_day_utc(
            perennial.add_months('keys.cohort_start_on', 'numbers.n + 1')
        ) }}
        <= clock.as_of as is_mature
    from keys
    cross join {{ ref('clock') }} as clock
    inner join period_numbers as numbers
        on
            numbers.n
            <= {{ perennial.periods_between(
                'month', 'keys.cohort_start_on', 'clock.as_of_on'
            ) }}
),

counted as (
    select
        cells.*,
        {%- for amount in [
            'sales_amount', 'costed_sales_amount', 'cumulative_revenue_amount',
            'cumulative_contribution_margin_amount',
        ] %}
        case
            when not cells.is_mature then null
            when revenue.segment is null then 0
            else revenue.{{ amount }}
        end as {{ amount }},
        {%- endfor %}
        costs.channel is not null as has_spend,
        revenue.segment is not null as has_customers,
        costs.cost_amount,
        coalesce(revenue.n_customers, 0) as n_customers
    from cells
    left join {{ ref('ad_costs') }} as costs
        on
            cells.channel = costs.channel
            and cells.cohort_start_on = costs.month_start_on
    left join {{ ref('cohort_revenue') }} as revenue
        on
            revenue.grain = 'month'
            and revenue.segment_type = 'channel'
            and cells.channel = revenue.segment
            and cells.cohort_start_on = revenue.cohort_start_on
            and cells.period_number = revenue.period_number
),

cumulative as (
    select
        *,
        {{ perennial.complete_running_sum('sales_amount', 'so_far') }}
            as cumulative_sales_amount,
        {{ perennial.complete_running_sum('costed_sales_amount', 'so_far') }}
            as cumulative_costed_sales_amount,
        -- The cost is whole when the month in which the customers came is.
        max(case when period_number = 0 then is_mature end) over cohort
            as is_cohort_complete,
        count_if(is_mature) over cohort as n_months_passed,
        min(
            case
                when cumulative_contribution_margin_amount >= cost_amount
                    then period_number
            end
        ) over cohort as payback_month_number,
        min(
            case
                when cumulative_revenue_amount >= cost_amount then period_number
            end
        ) over cohort as revenue_payback_month_number
    from counted
    window
        cohort as (partition by channel, cohort_start_on),
        so_far as (
            partition by channel, cohort_start_on
            order by period_number nulls last
            rows between unbounded preceding and current row
        )
)

select
    cast(channel as string) as channel,
    cast(cohort_start_on as date) as cohort_start_on,
    cast(period_number as bigint) as period_number,
    cast(
        case
            when has_spend and has_customers then 'spend and customers'
            when has_spend then 'spend only'
            else 'customers only'
        end as string
    ) as coverage,
    cast(is_mature as boolean) as is_mature,
    cast(n_months_passed as bigint) as n_months_passed,
    cast(n_customers as bigint) as n_customers,
    cast(cost_amount as decimal(18, 2)) as ad_spend_amount,
    cast(
        case
            when
                is_cohort_complete
                then {{ perennial.share('cost_amount', '1', 'n_customers') }}
        end
        as decimal(18, 2)
    ) as acquisition_cost_amount,
    cast(cumulative_revenue_amount as decimal(18, 2)) as cumulative_revenue_amount,
    cast(cumulative_contribution_margin_amount as decimal(18, 2))
        as cumulative_contribution_margin_amount,
    cast(
        cast(cumulative_costed_sales_amount as double)
        / nullif(cast(cumulative_sales_amount as double), 0)
        as double
    ) as cumulative_costed_sales_share,
    cast(cumulative_contribution_margin_amount >= cost_amount as boolean)
        as is_paid_back,
    cast(payback_month_number as bigint) as payback_month_number,
    cast(cumulative_revenue_amount >= cost_amount as boolean)
        as is_paid_back_by_revenue,
    cast(revenue_payback_month_number as bigint) as revenue_payback_month_number
from cumulative
