-- For whom a model is good is asked of groups that it has not seen as features.
with tests as (
    select max(tested_on) as tested_on
    from {{ ref('py_churn_models') }}
),

aged as (
    select
        customers.customer_id,
        customers.country,
        customers.gender,
        {{ perennial.full_years(
            'customers.birth_date', 'tests.tested_on'
        ) | indent(8) }} as age
    from {{ ref('customers') }} as customers
    cross join tests
    where
        customers.customer_id in (
            select predictions.customer_id
            from {{ ref('churn_test_predictions') }} as predictions
        )
)

select
    customer_id,
    country,
    gender,
    case
        when age < 25 then 'under 25'
        when age < 35 then '25 to 34'
        when age < 45 then '35 to 44'
        when age < 55 then '45 to 54'
        when age < 65 then '55 to 64'
        when age >= 65 then '65 and over'
    end as age_band
from aged
