{%- set groupings = [
    ('all', "'all'"),
    ('repeats', "case when n_repeats >= 7 then '7 or more' else cast(n_repeats as string) end"),
    ('channel', 'channel'),
    ('cohort', 'cast(cohort_start_on as string)'),
    ('decile', 'cast(expected_decile as string)'),
] -%}
-- What was expected of customers a horizon ago, beside what they then did.
with outcomes as (
    select
        histories.customer_id,
        histories.channel,
        histories.n_repeats,
        {{ perennial.period_start('month', 'histories.first_purchase_on') }}
            as cohort_start_on,
        -- Decile 1 holds the tenth of whom most was expected.
        ntile(10) over (
            order by
                round(forecasts.expected_purchases, 9) desc, histories.customer_id
        ) as expected_decile,
        forecasts.horizon_days,
        forecasts.model_name,
        forecasts.expected_purchases,
        forecasts.expected_amount,
        histories.n_later_purchases,
        histories.later_amount,
        histories.n_later_purchases between forecasts.purchases_low
        and forecasts.purchases_high as is_within_purchases,
        histories.later_amount between forecasts.amount_low
        and forecasts.amount_high as is_within_amounts
    from {{ ref('purchase_histories') }} as histories
    inner join {{ ref('py_value_forecasts') }} as forecasts
        on
            histories.cut = forecasts.cut
            and histories.customer_id = forecasts.customer_id
    where histories.cut = 'holdout'
),

grouped as (
    {%- for grouping, value in groupings %}
    select
        '{{ grouping }}' as grouped_by,
        {{ value }} as group_value,
        model_name,
        horizon_days,
        count(*) as n_customers,
        cast(sum({{ perennial.exact('expected_purchases') }}) as double)
            as expected_purchases,
        sum(n_later_purchases) as n_purchases,
        {{ perennial.complete_sum(perennial.exact('expected_amount')) }}
            as expected_amount,
        {{ perennial.complete_sum('later_amount') }} as amount,
        count_if(is_within_purchases) as n_within_purchases,
        count_if(is_within_amounts) as n_within_amounts
    from outcomes
    group by all
    {{ 'union all' if not loop.last }}
    {%- endfor %}
)

select
    cast(grouped_by as string) as grouped_by,
    cast(group_value as string) as group_value,
    cast(model_name as string) as model_name,
    cast(horizon_days as bigint) as horizon_days,
    cast(n_customers as bigint) as n_customers,
    cast(expected_purchases as double) as expected_purchases,
    cast(n_purchases as bigint) as n_purchases,
    cast(expected_purchases / nullif(n_purchases, 0) as double) as purchases_ratio,
    cast(expected_amount as decimal(18, 2)) as expected_amount,
    cast(amount as decimal(18, 2)) as amount,
    cast(cast(expected_amount as double) / nullif(cast(amount as double), 0) as double)
        as amount_ratio,
    cast(cast(n_within_purchases as double) / n_customers as double)
        as purchases_coverage_rate,
    cast(
        case
            when expected_amount is not null and amount is not null
                then cast(n_within_amounts as double) / n_customers
        end
        as double
    ) as amount_coverage_rate
from grouped
