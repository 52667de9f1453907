-- No rate is published on weekends and holidays: a rate serves for a week, then it is missing.
with quoted as (
    select
        currency,
        rate_date as valid_from,
        least(
            coalesce(
                lead(rate_date) over (partition by currency order by rate_date),
                date '9999-12-31'
            ),
            {{ perennial.add_days('rate_date', 7) }}
        ) as valid_before,
        rate
    from {{ ref('stg_exchange_rates') }}
    where currency <> '{{ perennial.setting("currency") }}'
)

select
    currency,
    valid_from,
    valid_before,
    rate
from quoted

union all

select
    '{{ perennial.setting("currency") }}' as currency,
    date '0001-01-01' as valid_from,
    date '9999-12-31' as valid_before,
    1.0 as rate
