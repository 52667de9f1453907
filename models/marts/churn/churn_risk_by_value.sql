with scored as (
    select
        scores.customer_id,
        scores.horizon_days,
        scores.churn_probability,
        value.historical_amount,
        value.expected_amount_365d,
        -- Customers who brought the same are in the same quarter.
        ceil(4 * cume_dist() over (order by value.historical_amount nulls last))
            as value_quarter
    from {{ ref('churn_scores') }} as scores
    inner join {{ ref('customer_lifetime_value') }} as value
        on scores.customer_id = value.customer_id
    where value.historical_amount is not null
),

banded as (
    select
        *,
        case
            when churn_probability < 1 / 3.0 then 'low'
            when churn_probability < 2 / 3.0 then 'middle'
            else 'high'
        end as risk
    from scored
)

select
    cast(risk as string) as risk,
    cast(value_quarter as integer) as value_quarter,
    cast(horizon_days as integer) as horizon_days,
    cast(count(*) as bigint) as n_customers,
    cast(
        cast(sum({{ perennial.exact('churn_probability') }}) as double) / count(*)
        as double
    ) as mean_churn_probability,
    cast(sum(historical_amount) as decimal(18, 2)) as historical_amount,
    cast(
        {{ perennial.complete_sum('expected_amount_365d') }} as decimal(18, 2)
    ) as expected_amount_365d
from banded
group by risk, value_quarter, horizon_days
