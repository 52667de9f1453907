{%- set period_days = 28 -%}
-- How busy a month of the year is can be told apart from who its customers are only where both
-- are known: of each day that could have seen a repeat purchase, and of each that did.
with cohorts as (
    select
        cut,
        cut_on,
        first_purchase_on,
        {{ perennial.period_start('month', 'first_purchase_on') }} as cohort_start_on,
        count(*) as n_customers
    from {{ ref('purchase_histories') }}
    group by all
),

customer_days as (
    select
        cohorts.cut,
        cohorts.cohort_start_on,
        cast(
            floor(
                (cast(calendar.day_on - cohorts.first_purchase_on as integer) - 1)
                / {{ period_days }}
            ) as bigint
        ) as age_period,
        month(calendar.day_on) as month_number,
        sum(cohorts.n_customers) as n_customer_days
    from cohorts
    inner join {{ ref('calendar') }} as calendar
        on
            cohorts.first_purchase_on < calendar.day_on
            and cohorts.cut_on >= calendar.day_on
    where calendar.grain = 'day'
    group by all
),

repeats as (
    select
        histories.cut,
        {{ perennial.period_start('month', 'histories.first_purchase_on') }}
            as cohort_start_on,
        cast(
            floor(
                (cast(days.ordered_on - histories.first_purchase_on as integer) - 1)
                / {{ period_days }}
            ) as bigint
        ) as age_period,
        month(days.ordered_on) as month_number,
        count(*) as n_purchases
    from {{ ref('purchase_histories') }} as histories
    inner join {{ ref('purchase_days') }} as days
        on
            histories.cut = days.cut
            and histories.customer_id = days.customer_id
            and histories.first_purchase_on < days.ordered_on
    where days.is_history
    group by all
)

select
    cast(customer_days.cut as string) as cut,
    cast(customer_days.cohort_start_on as date) as cohort_start_on,
    cast(customer_days.age_period as bigint) as age_period,
    cast(customer_days.month_number as integer) as month_number,
    cast(customer_days.n_customer_days as bigint) as n_customer_days,
    cast(coalesce(repeats.n_purchases, 0) as bigint) as n_purchases
from customer_days
left join repeats
    on
        customer_days.cut = repeats.cut
        and customer_days.cohort_start_on = repeats.cohort_start_on
        and customer_days.age_period = repeats.age_period
        and customer_days.month_number = repeats.month_number
