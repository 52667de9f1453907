-- What has not been spent by as_of does not count.
with spent as (
    select
        channel,
        spend_date,
        cost,
        currency
    from {{ ref('stg_ad_spend') }}
    where spend_date <= (select as_of_on from {{ ref('clock') }})
),

converted as (
    select
        spent.channel,
        {{ perennial.period_start('month', 'spent.spend_date') }} as month_start_on,
        {{ perennial.in_reporting_currency('spent.cost', 'rates.rate') }} as cost_amount
    from spent
    left join {{ ref('currency_rates') }} as rates
        on
            spent.currency = rates.currency
            and spent.spend_date >= rates.valid_from
            and spent.spend_date < rates.valid_before
)

select
    cast(channel as string) as channel,
    cast(month_start_on as date) as month_start_on,
    cast({{ perennial.complete_sum('cost_amount') }} as decimal(18, 2)) as cost_amount
from converted
group by all
